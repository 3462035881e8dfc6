// Clerk's Backend API, as far as provisioning needs it. Any thread.
#include "steps/clerk_client.h"

#include <fmt/format.h>

#include <algorithm>

#include "steps/encoding.h"
#include "steps/json_reading.h"

namespace steplog::steps {
namespace {

constexpr const char* clerk_version = "2026-05-12";

std::string lower_ascii(std::string text) {
    for (char& c : text) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return text;
}

std::vector<std::string> only_ids(std::vector<std::string> values) {
    values.erase(std::remove_if(values.begin(), values.end(),
                                [](const auto& value) { return !is_provider_id(value); }),
                 values.end());
    return values;
}

}  // namespace

bool ClerkUser::has_verified(const std::string& address) const {
    return std::any_of(emails.begin(), emails.end(), [&](const Email& email) {
        return email.verified && lower_ascii(email.address) == lower_ascii(address);
    });
}

ClerkClient::ClerkClient(HttpTransport& transport, const Clock& clock, const ClerkOptions& options)
    : api_(transport, clock, Dialect::clerk, options.base,
           {{"Authorization", "Bearer " + options.secret_key},
            {"Clerk-API-Version", clerk_version},
            {"Content-Type", "application/json"}}),
      adding_(std::make_unique<std::timed_mutex>()) {}

ClerkUser ClerkClient::read_user(const Json& user, const ProviderRequest& request) const {
    ClerkUser read;
    read.id = text_at(user, {"id"});
    if (!is_provider_id(read.id)) api_.throw_bad_reply(request);
    read.external_id = text_at(user, {"external_id"});
    const Json& emails = value_at(user, {"email_addresses"});
    if (emails.is_array()) {
        for (const Json& email : emails) {
            read.emails.push_back({text_at(email, {"email_address"}),
                                   text_at(email, {"verification", "status"}) == "verified"});
        }
    }
    const Json& customers = value_at(user, {"private_metadata", "stripe_customer_ids"});
    if (customers.is_array()) {
        for (const Json& customer : customers) {
            if (customer.is_string())
                read.stripe_customer_ids.push_back(customer.get<std::string>());
        }
    }
    read.steplog_instance = text_at(user, {"private_metadata", "steplog_instance"});
    return read;
}

std::vector<ClerkUser> ClerkClient::list_users(const std::string& query, const std::string& doing,
                                               const Call& call) const {
    const ProviderRequest request{.method = "GET", .target = "/v1/users?" + query, .doing = doing};
    const Json list = api_.call(request, call);
    if (!list.is_array()) api_.throw_bad_reply(request);
    std::vector<ClerkUser> users;
    for (const Json& user : list) users.push_back(read_user(user, request));
    return users;
}

std::optional<ClerkUser> ClerkClient::find_by_id(const std::string& id, const Call& call) const {
    if (!is_provider_id(id)) return std::nullopt;
    const ProviderRequest request{
        .method = "GET", .target = "/v1/users/" + id, .doing = "read user " + id};
    try {
        const ClerkUser user = read_user(api_.call(request, call), request);
        if (user.id != id) api_.throw_bad_reply(request);
        return user;
    } catch (const Refusal& refusal) {
        if (refusal.status() == 404) return std::nullopt;
        throw;
    }
}

std::optional<ClerkUser> ClerkClient::find_by_external_id(const std::string& external_id,
                                                          const Call& call) const {
    if (!is_provider_id(external_id)) {
        throw PermanentError("malformed_id",
                             "an external id that is not one of Stripe's: nothing was asked");
    }
    for (ClerkUser& user : list_users("external_id=" + external_id + "&limit=10",
                                      "look up external id " + external_id, call)) {
        if (user.external_id == external_id) return std::move(user);
    }
    return std::nullopt;
}

std::optional<ClerkUser> ClerkClient::find_by_email(const std::string& email,
                                                    const Call& call) const {
    // Clerk keeps addresses in lower case, Stripe as they were typed.
    const std::string lower = lower_ascii(email);
    std::string query = "email_address=" + percent_encode(email);
    if (lower != email) query += "&email_address=" + percent_encode(lower);
    std::optional<ClerkUser> unverified;
    for (ClerkUser& user : list_users(query + "&limit=10", "look up an e-mail address", call)) {
        if (user.has_verified(email)) return std::move(user);
        const bool matches = std::any_of(
            user.emails.begin(), user.emails.end(),
            [&](const ClerkUser::Email& its) { return lower_ascii(its.address) == lower; });
        if (matches && !unverified) unverified = std::move(user);
    }
    return unverified;
}

// Clerk takes up to 100 values of a parameter; long ones make shorter requests.
std::vector<ClerkUser> ClerkClient::find_all(const std::string& parameter,
                                             const std::vector<std::string>& values,
                                             const std::string& doing, const Call& call) const {
    constexpr int values_max = 50;
    constexpr std::size_t query_bytes_max = 4000;
    std::vector<ClerkUser> users;
    for (std::size_t at = 0; at < values.size();) {
        std::string query = "limit=500";
        for (int taken = 0; at < values.size() && taken < values_max; ++taken) {
            const std::string next = "&" + parameter + "=" + percent_encode(values[at]);
            if (taken > 0 && query.size() + next.size() > query_bytes_max) break;
            query += next;
            ++at;
        }
        for (ClerkUser& user : list_users(query, doing, call)) users.push_back(std::move(user));
    }
    return users;
}

std::vector<ClerkUser> ClerkClient::find_all_by_id(const std::vector<std::string>& ids,
                                                   const Call& call) const {
    return find_all("user_id", only_ids(ids), "look up users", call);
}

std::vector<ClerkUser> ClerkClient::find_all_by_external_id(
    const std::vector<std::string>& external_ids, const Call& call) const {
    return find_all("external_id", only_ids(external_ids), "look up external ids", call);
}

std::vector<ClerkUser> ClerkClient::find_all_by_email(const std::vector<std::string>& emails,
                                                      const Call& call) const {
    // Clerk keeps addresses in lower case.
    std::vector<std::string> lower;
    for (const std::string& email : emails)
        if (!email.empty()) lower.push_back(lower_ascii(email));
    return find_all("email_address", lower, "look up e-mail addresses", call);
}

ClerkUser ClerkClient::create_user(const NewClerkUser& user, const Call& call) const {
    Json body = {{"email_address", Json::array({user.email})},
                 {"skip_password_requirement", true},
                 {"private_metadata", user.private_metadata}};
    if (!user.first_name.empty()) body["first_name"] = user.first_name;
    if (!user.last_name.empty()) body["last_name"] = user.last_name;
    if (!user.external_id.empty()) body["external_id"] = user.external_id;
    const ProviderRequest request{.method = "POST",
                                  .target = "/v1/users",
                                  .body = dump_json(body),
                                  .doing = "create the account"};
    return read_user(api_.call(request, call), request);
}

bool ClerkClient::set_external_id(const std::string& user_id, const std::string& external_id,
                                  const Call& call) const {
    const ProviderRequest request{.method = "PATCH",
                                  .target = "/v1/users/" + user_id,
                                  .body = dump_json({{"external_id", external_id}}),
                                  .doing = "set the external id of user " + user_id};
    try {
        if (read_user(api_.call(request, call), request).external_id != external_id) {
            api_.throw_bad_reply(request);
        }
        return true;
    } catch (const Refusal& refusal) {
        if (refusal.code() == "form_identifier_exists") return false;
        throw;
    }
}

void ClerkClient::add_stripe_customer_id(const std::string& user_id, const std::string& customer,
                                         const Call& call) const {
    const std::unique_lock alone(*adding_, call.timeout);
    if (!alone.owns_lock()) {
        throw RetryableError("another customer is being added to a shared account",
                             {.code = "busy",
                              .outcome = Outcome::refused,
                              .trouble = RetryableError::Trouble::request});
    }
    const auto user = find_by_id(user_id, call);
    if (!user) {
        throw PermanentError("resource_not_found", "Clerk no longer knows user " + user_id);
    }
    std::vector<std::string> customers = user->stripe_customer_ids;
    if (std::find(customers.begin(), customers.end(), customer) != customers.end()) return;
    customers.push_back(customer);
    const ProviderRequest request{
        .method = "PATCH",
        .target = "/v1/users/" + user_id + "/metadata",
        .body = dump_json({{"private_metadata", {{"stripe_customer_ids", customers}}}}),
        .doing = "add a Stripe customer to user " + user_id};
    read_user(api_.call(request, call), request);
}

}  // namespace steplog::steps
