// Clerk's users: looked up, created, changed and deleted as its Backend API does. Sources: the
// OpenAPI file bapi/2026-05-12 and clerk-docs' list of errors. Which meta.param_name a taken
// external_id gets is not documented; "external_id" is assumed. Under the sandbox's mutex.
#include "tools/sandbox/clerk.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <stdexcept>

#include "tools/sandbox/clerk_shapes.h"

namespace steplog::sandbox {
namespace {

struct ClerkRefusal {
    int status = 422;
    std::string code;
    std::string message;
    std::string param;
};

[[noreturn]] void refuse_identifier(const std::string& param) {
    throw ClerkRefusal{422, "form_identifier_exists",
                       param == "email_address" ? "That email address is taken. Please try another."
                                                : "That external id is taken. Please try another.",
                       param};
}

[[noreturn]] void refuse_format(const std::string& param) {
    throw ClerkRefusal{422, "form_param_format_invalid", param + " is invalid", param};
}

void check_known(const Json& body, std::string_view allowed) {
    for (const auto& [key, value] : body.items()) {
        if (allowed.find(fmt::format(" {} ", key)) == std::string_view::npos) {
            throw ClerkRefusal{422, "form_param_unknown",
                               fmt::format("{} is not a valid parameter for this request.", key),
                               key};
        }
    }
}

/// A text parameter: absent, null or text.
std::optional<std::string> text_param(const Json& body, const std::string& key) {
    const Json* value = member(body, key);
    if (value == nullptr || value->is_null()) return std::nullopt;
    if (!value->is_string()) refuse_format(key);
    return value->get<std::string>();
}

Json metadata_param(const Json& body, const std::string& key) {
    const Json* value = member(body, key);
    if (value == nullptr || value->is_null()) return Json::object();
    if (!value->is_object()) refuse_format(key);
    return *value;
}

/// Deep merge; a null removes its key (docs: PATCH /users/{user_id}/metadata).
void merge(Json& into, const Json& from) {
    for (const auto& [key, value] : from.items()) {
        if (value.is_null()) {
            into.erase(key);
        } else if (value.is_object() && into.contains(key) && into[key].is_object()) {
            merge(into[key], value);
        } else {
            into[key] = value;
        }
    }
}

/// Values with a leading '+' (or none) include, with a leading '-' exclude.
bool passes(const std::vector<std::string>& asked, const std::string& have) {
    bool any_included = false;
    bool included = false;
    for (const std::string& value : asked) {
        const bool signed_value = value.starts_with('+') || value.starts_with('-');
        const std::string_view name = signed_value ? std::string_view(value).substr(1) : value;
        if (value.starts_with('-')) {
            if (name == have) return false;
            continue;
        }
        any_included = true;
        included = included || name == have;
    }
    return !any_included || included;
}

std::size_t count_param(const Params& query, const std::string& key, std::size_t low,
                        std::size_t high, std::size_t otherwise) {
    const auto text = find_param(query, key);
    if (!text) return otherwise;
    std::size_t value = 0;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
    if (error != std::errc() || end != text->data() + text->size() || value < low || value > high) {
        refuse_format(key);
    }
    return value;
}

std::string lower_or_empty(const Json& user, std::string_view key) {
    return to_lower(string_at(user, key));
}

}  // namespace

steps::HttpReply clerk_error(int status, const std::string& code, const std::string& message,
                             const std::string& param_name, const std::string& trace_id) {
    Json error = {{"code", code}, {"message", message}, {"long_message", message}};
    if (!param_name.empty()) error["meta"] = {{"param_name", param_name}};
    return json_reply(status,
                      {{"errors", Json::array({std::move(error)})}, {"clerk_trace_id", trace_id}});
}

Handled Clerk::handle(const Call& call, IdSource& ids) {
    Handled handled;
    const std::string trace_id = ids.make("", 32);
    const std::string authorization = header_of(call.headers, "Authorization");
    const std::string key = authorization.starts_with("Bearer ") ? authorization.substr(7) : "";
    if (secret_key_.empty() ? !key.starts_with("sk_") : key != secret_key_) {
        handled.reply =
            clerk_error(401, authorization.empty() ? "authentication_invalid" : "clerk_key_invalid",
                        authorization.empty() ? "Invalid authentication"
                                              : "The provided Clerk Secret Key is "
                                                "invalid.",
                        "", trace_id);
        return handled;
    }
    Json body = Json::object();
    if (!call.body.empty()) body = Json::parse(call.body, nullptr, false);
    if (body.is_discarded() || !body.is_object()) {
        handled.reply =
            clerk_error(400, "request_body_invalid", "Request body invalid", "", trace_id);
        return handled;
    }
    try {
        handled.reply = json_reply(200, route(call, body, ids));
        handled.effect = call.method != "GET";
    } catch (const ClerkRefusal& refusal) {
        handled.reply =
            clerk_error(refusal.status, refusal.code, refusal.message, refusal.param, trace_id);
    }
    return handled;
}

Json Clerk::route(const Call& call, const Json& body, IdSource& ids) {
    const auto& at = call.segments;
    const std::string& method = call.method;
    const auto is = [&](std::string_view verb, std::size_t size, std::string_view collection) {
        return method == verb && at.size() == size && at[0] == "v1" && at[1] == collection;
    };
    if (is("POST", 2, "users")) return create_user(body, call.now_ms, ids);
    if (is("POST", 2, "invitations")) return create_invitation(body, call.now_ms, ids);
    if (is("POST", 2, "sign_in_tokens")) return create_sign_in_token(body, call.now_ms, ids);
    if (is("GET", 2, "users")) {
        Json list = Json::array();
        const std::size_t limit = count_param(call.query, "limit", 1, 500, 10);
        const std::size_t offset = count_param(call.query, "offset", 0, 1'000'000'000, 0);
        const std::vector<User> found = select(call.query);
        for (std::size_t i = offset; i < found.size() && list.size() < limit; ++i) {
            list.push_back(*found[i]);
        }
        return list;
    }
    if (is("GET", 3, "users") && at[2] == "count") {
        return {{"object", "total_count"}, {"total_count", select(call.query).size()}};
    }
    if (at.size() >= 3 && at[0] == "v1" && at[1] == "users") {
        const User user = find(at[2]);
        if (is("GET", 3, "users")) return *user;
        if (is("PATCH", 3, "users")) return update_user(at[2], body, call.now_ms);
        if (is("DELETE", 3, "users")) return delete_user(at[2]);
        if (at.size() == 4 && at[3] == "metadata" && (method == "PATCH" || method == "PUT")) {
            return update_metadata(at[2], body, method == "PUT", call.now_ms);
        }
    }
    throw ClerkRefusal{404, "resource_not_found", "The URL was not found.", ""};
}

Json Clerk::create_user(const Json& body, std::int64_t now_ms, IdSource& ids) {
    check_known(body,
                " external_id first_name last_name locale email_address "
                "email_address_identification_status phone_number "
                "phone_number_identification_status web3_wallet username password password_digest "
                "password_hasher skip_password_checks skip_password_requirement totp_secret "
                "backup_codes public_metadata private_metadata unsafe_metadata delete_self_enabled "
                "legal_accepted_at skip_legal_checks skip_user_requirement "
                "create_organization_enabled create_organizations_limit created_at "
                "bypass_client_trust banned locked ");
    std::vector<std::string> emails;
    if (const Json* addresses = member(body, "email_address")) {
        if (!addresses->is_array()) refuse_format("email_address");
        for (const Json& address : *addresses) {
            if (!address.is_string() || !looks_like_email(address.get<std::string>())) {
                refuse_format("email_address");
            }
            emails.push_back(address.get<std::string>());
        }
    }
    const auto flag = [&](const char* key) {
        const Json* value = member(body, key);
        return value != nullptr && value->is_boolean() && value->get<bool>();
    };
    if (emails.empty() && !flag("skip_user_requirement")) {
        throw ClerkRefusal{422, "form_data_missing", "missing data: email_address",
                           "email_address"};
    }
    const bool has_password =
        text_param(body, "password").has_value() || text_param(body, "password_digest").has_value();
    if (!has_password && !flag("skip_password_requirement")) {
        throw ClerkRefusal{422, "form_data_missing", "missing data: password", "password"};
    }
    for (const std::string& email : emails) {
        if (id_by_email_.contains(to_lower(email))) refuse_identifier("email_address");
    }
    const auto external_id = text_param(body, "external_id");
    if (external_id) refuse_taken_external_id(*external_id, "");

    Json user = clerk_user(ids.make("user_", 27), now_ms);
    const Json* statuses = member(body, "email_address_identification_status");
    for (std::size_t i = 0; i < emails.size(); ++i) {
        const bool reserved = statuses != nullptr && statuses->is_array() && i < statuses->size() &&
                              statuses->at(i) == "reserved";
        user["email_addresses"].push_back(clerk_email(emails[i], !reserved, reserved, now_ms, ids));
    }
    if (!emails.empty()) user["primary_email_address_id"] = user["email_addresses"][0]["id"];
    if (external_id) user["external_id"] = *external_id;
    for (const char* key : {"first_name", "last_name", "locale", "username"}) {
        if (const auto text = text_param(body, key)) user[key] = *text;
    }
    for (const char* key : {"public_metadata", "private_metadata", "unsafe_metadata"}) {
        user[key] = metadata_param(body, key);
    }
    user["password_enabled"] = has_password;
    put(user);
    return user;
}

Json Clerk::update_user(const std::string& id, const Json& body, std::int64_t now_ms) {
    check_known(body,
                " external_id first_name last_name locale primary_email_address_id "
                "notify_primary_email_address_changed primary_phone_number_id "
                "primary_web3_wallet_id username profile_image_id password password_digest "
                "password_hasher skip_password_checks sign_out_of_other_sessions totp_secret "
                "backup_codes delete_self_enabled create_organization_enabled legal_accepted_at "
                "skip_legal_checks create_organizations_limit created_at bypass_client_trust ");
    Json user = *find(id);
    if (const Json* external_id = member(body, "external_id")) {
        if (const auto text = text_param(body, "external_id")) refuse_taken_external_id(*text, id);
        user["external_id"] = *external_id;
    }
    for (const char* key :
         {"first_name", "last_name", "locale", "username", "primary_email_address_id"}) {
        if (const Json* value = member(body, key)) {
            const auto text = text_param(body, key);
            user[key] = text ? *value : Json();
        }
    }
    user["updated_at"] = now_ms;
    put(user);
    return user;
}

Json Clerk::update_metadata(const std::string& id, const Json& body, bool replace,
                            std::int64_t now_ms) {
    check_known(body, " public_metadata private_metadata unsafe_metadata ");
    Json user = *find(id);
    for (const char* key : {"public_metadata", "private_metadata", "unsafe_metadata"}) {
        if (member(body, key) == nullptr) continue;
        if (replace) user[key] = Json::object();
        merge(user[key], metadata_param(body, key));
    }
    user["updated_at"] = now_ms;
    put(user);
    return user;
}

Json Clerk::delete_user(const std::string& id) {
    const User user = find(id);
    Json answer = {{"object", "user"}, {"id", id}, {"deleted", true}};
    const std::string external_id = string_at(*user, "external_id");
    if (!external_id.empty()) {
        answer["external_id"] = external_id;
        id_by_external_id_.erase(external_id);
    }
    std::erase_if(id_by_email_, [&](const auto& pair) { return pair.second == id; });
    std::erase(order_, id);
    by_id_.erase(id);
    return answer;
}

Json Clerk::create_invitation(const Json& body, std::int64_t now_ms, IdSource& ids) {
    check_known(body,
                " email_address public_metadata redirect_url notify ignore_existing "
                "expires_in_days template_slug ");
    const std::string email = text_param(body, "email_address").value_or("");
    if (email.empty()) {
        throw ClerkRefusal{422, "form_param_missing", "email_address must be included.",
                           "email_address"};
    }
    if (!looks_like_email(email)) refuse_format("email_address");
    if (id_by_email_.contains(to_lower(email))) refuse_identifier("email_address");
    const Json* ignore = member(body, "ignore_existing");
    const bool pending =
        std::any_of(invitations_.begin(), invitations_.end(), [&](const Json& had) {
            return to_lower(string_at(had, "email_address")) == to_lower(email);
        });
    if (pending && (ignore == nullptr || *ignore != true)) {
        throw ClerkRefusal{400, "duplicate_record", "duplicate invitation", "email_address"};
    }
    Json invitation = {{"object", "invitation"},
                       {"id", ids.make("inv_", 27)},
                       {"email_address", email},
                       {"public_metadata", metadata_param(body, "public_metadata")},
                       {"revoked", false},
                       {"status", "pending"},
                       {"url", "https://accounts.example.com/accept"},
                       {"expires_at", now_ms + 30LL * 86'400'000},
                       {"created_at", now_ms},
                       {"updated_at", now_ms}};
    invitations_.push_back(invitation);
    return invitation;
}

Json Clerk::create_sign_in_token(const Json& body, std::int64_t now_ms, IdSource& ids) {
    check_known(body, " user_id org_id expires_in_seconds ");
    const std::string user_id = text_param(body, "user_id").value_or("");
    find(user_id);
    const std::string token = ids.make("sandbox_ticket_", 32);
    Json created = {{"object", "sign_in_token"},
                    {"id", ids.make("sit_", 27)},
                    {"status", "pending"},
                    {"user_id", user_id},
                    {"token", token},
                    {"url", "https://accounts.example.com/sign-in?__clerk_ticket=" + token},
                    {"created_at", now_ms},
                    {"updated_at", now_ms}};
    sign_in_tokens_.push_back(created);
    return created;
}

std::vector<Clerk::User> Clerk::select(const Params& query) const {
    const std::vector<std::string> emails = find_all(query, "email_address");
    const std::vector<std::string> external_ids = find_all(query, "external_id");
    const std::vector<std::string> user_ids = find_all(query, "user_id");
    if (emails.size() > 100) refuse_format("email_address");
    if (external_ids.size() > 100) refuse_format("external_id");
    const auto text = find_param(query, "query");
    const std::string wanted = text ? to_lower(*text) : "";
    std::vector<User> found;
    // Newest first is the documented default order.
    for (auto id = order_.rbegin(); id != order_.rend(); ++id) {
        const User& user = by_id_.at(*id);
        bool email_found = emails.empty();
        bool text_found = !text || to_lower(*id).find(wanted) != std::string::npos ||
                          lower_or_empty(*user, "first_name").find(wanted) != std::string::npos ||
                          lower_or_empty(*user, "last_name").find(wanted) != std::string::npos;
        for (const Json& address : user->at("email_addresses")) {
            const std::string have = to_lower(string_at(address, "email_address"));
            text_found = text_found || have.find(wanted) != std::string::npos;
            for (const std::string& email : emails) {
                email_found = email_found || to_lower(email) == have;
            }
        }
        if (email_found && text_found && passes(user_ids, *id) &&
            passes(external_ids, string_at(*user, "external_id"))) {
            found.push_back(user);
        }
    }
    if (find_param(query, "order_by") == "created_at" ||
        find_param(query, "order_by") == "+created_at") {
        std::reverse(found.begin(), found.end());
    }
    if (const auto after = find_param(query, "starting_after")) {
        const auto last = std::find_if(found.begin(), found.end(), [&](const User& user) {
            return string_at(*user, "id") == *after;
        });
        found.erase(found.begin(), last == found.end() ? last : last + 1);
    }
    return found;
}

Clerk::User Clerk::find(const std::string& id) const {
    const auto found = by_id_.find(id);
    if (found == by_id_.end()) {
        throw ClerkRefusal{404, "resource_not_found", "No user was found with that id.", "user_id"};
    }
    return found->second;
}

void Clerk::refuse_taken_external_id(const std::string& external_id, const std::string& but) const {
    const auto found = id_by_external_id_.find(external_id);
    if (found != id_by_external_id_.end() && found->second != but) refuse_identifier("external_id");
}

void Clerk::put(Json user) {
    const std::string id = string_at(user, "id");
    const auto before = by_id_.find(id);
    if (before != by_id_.end()) id_by_external_id_.erase(string_at(*before->second, "external_id"));
    const std::string external_id = string_at(user, "external_id");
    if (!external_id.empty()) id_by_external_id_[external_id] = id;
    for (const Json& address : user.at("email_addresses")) {
        id_by_email_[to_lower(string_at(address, "email_address"))] = id;
    }
    const auto [place, added] = by_id_.insert_or_assign(id, nullptr);
    place->second = std::make_shared<const Json>(std::move(user));
    if (added) order_.push_back(id);
}

std::string Clerk::add_user(const ExistingUser& existing, std::int64_t now_ms, IdSource& ids) {
    if (!looks_like_email(existing.email) || id_by_email_.contains(to_lower(existing.email))) {
        throw std::invalid_argument("the e-mail address is not one, or a user has it already");
    }
    if (!existing.external_id.empty() && id_by_external_id_.contains(existing.external_id)) {
        throw std::invalid_argument("the external id is taken by another user");
    }
    Json user = clerk_user(ids.make("user_", 27), now_ms);
    user["email_addresses"].push_back(
        clerk_email(existing.email, existing.verified, false, now_ms, ids));
    user["primary_email_address_id"] = user["email_addresses"][0]["id"];
    if (!existing.external_id.empty()) user["external_id"] = existing.external_id;
    if (!existing.first_name.empty()) user["first_name"] = existing.first_name;
    if (!existing.last_name.empty()) user["last_name"] = existing.last_name;
    user["private_metadata"] = existing.private_metadata;
    std::string id = string_at(user, "id");
    put(std::move(user));
    return id;
}

bool Clerk::verify_email(const std::string& email, std::int64_t now_ms) {
    const auto found = id_by_email_.find(to_lower(email));
    if (found == id_by_email_.end()) return false;
    Json user = *by_id_.at(found->second);
    for (Json& address : user["email_addresses"]) {
        if (to_lower(string_at(address, "email_address")) != to_lower(email)) continue;
        address["reserved"] = false;
        address["verification"] = {{"object", "verification_otp"},
                                   {"status", "verified"},
                                   {"strategy", "email_code"},
                                   {"attempts", 1},
                                   {"expire_at", now_ms + 600'000}};
    }
    put(std::move(user));
    return true;
}

std::vector<Clerk::User> Clerk::users() const {
    std::vector<User> users;
    for (const std::string& id : order_) users.push_back(by_id_.at(id));
    return users;
}

}  // namespace steplog::sandbox
