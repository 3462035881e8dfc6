// Lists, cursors, expansion and search over an account's objects. Under the sandbox's mutex.
#include "tools/sandbox/stripe_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace steplog::sandbox {
namespace {

std::int64_t number_param(const std::string& text, const std::string& param) {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) {
        throw StripeRefusal{.code = "parameter_invalid_integer",
                            .message = fmt::format("Invalid integer: {}", text),
                            .param = param};
    }
    return value;
}

std::size_t limit_of(const Call& call) {
    const auto text = find_param(call.query, "limit");
    if (!text) return 10;
    const std::int64_t limit = number_param(*text, "limit");
    if (limit < 1 || limit > 100) {
        throw StripeRefusal{.code = "parameter_invalid_integer",
                            .message = "This value must be between 1 and 100.",
                            .param = "limit"};
    }
    return static_cast<std::size_t>(limit);
}

struct CreatedRange {
    std::int64_t low = std::numeric_limits<std::int64_t>::min();
    std::int64_t high = std::numeric_limits<std::int64_t>::max();
    bool contains(std::int64_t created) const { return created >= low && created <= high; }
};

CreatedRange created_range(const Call& call) {
    CreatedRange range;
    if (const auto exact = find_param(call.query, "created")) {
        range.low = range.high = number_param(*exact, "created");
    }
    for (const auto& [operation, text] : find_bracketed(call.query, "created")) {
        const std::int64_t value = number_param(text, "created");
        if (operation == "gte") range.low = std::max(range.low, value);
        if (operation == "gt") range.low = std::max(range.low, value + 1);
        if (operation == "lte") range.high = std::min(range.high, value);
        if (operation == "lt") range.high = std::min(range.high, value - 1);
    }
    return range;
}

std::int64_t created_of(const Json& object) {
    const Json* created = member(object, "created");
    return created != nullptr && created->is_number_integer() ? created->get<std::int64_t>() : 0;
}

/// The page of positions [0, count) that limit and cursors ask for, newest (largest) first.
struct Page {
    std::vector<std::size_t> positions;
    bool has_more = false;
};

Page page_of(std::size_t count, const Call& call,
             const std::function<std::optional<std::size_t>(const std::string&)>& position_of,
             const std::function<bool(std::size_t)>& wanted) {
    const std::size_t limit = limit_of(call);
    const auto after = find_param(call.query, "starting_after");
    const auto before = find_param(call.query, "ending_before");
    if (after && before) {
        throw StripeRefusal{.code = "parameters_exclusive",
                            .message =
                                "You may only specify one of these parameters: "
                                "starting_after, ending_before."};
    }
    const auto cursor = [&](const std::string& id, const std::string& param) {
        const auto position = position_of(id);
        if (!position) throw missing_resource("object", id, param);
        return *position;
    };
    Page page;
    if (before) {
        for (std::size_t i = cursor(*before, "ending_before") + 1; i < count; ++i) {
            if (!wanted(i)) continue;
            if (page.positions.size() == limit) {
                page.has_more = true;
                break;
            }
            page.positions.push_back(i);
        }
        std::reverse(page.positions.begin(), page.positions.end());
        return page;
    }
    for (std::size_t i = after ? cursor(*after, "starting_after") : count; i-- > 0;) {
        if (!wanted(i)) continue;
        if (page.positions.size() == limit) {
            page.has_more = true;
            break;
        }
        page.positions.push_back(i);
    }
    return page;
}

struct SearchClause {
    bool negated = false;
    std::string field;         // "email", or "metadata" with a key
    std::string metadata_key;  //
    char operation = ':';
    std::optional<std::string> value;  // absent: null
};

[[noreturn]] void refuse_query(const std::string& why) {
    throw StripeRefusal{.message = "We were unable to parse your search query: " + why +
                                   " See https://stripe.com/docs/search#search-query-language",
                        .param = "query"};
}

/// Reads 'text' or "text" at the beginning of `rest` and moves behind it.
std::string quoted(std::string_view& rest) {
    if (rest.empty() || (rest.front() != '\'' && rest.front() != '"'))
        refuse_query("quote expected.");
    const char quote = rest.front();
    std::string out;
    std::size_t i = 1;
    for (; i < rest.size() && rest[i] != quote; ++i) {
        if (rest[i] == '\\' && i + 1 < rest.size()) ++i;
        out += rest[i];
    }
    if (i >= rest.size()) refuse_query("a quote is not closed.");
    rest.remove_prefix(i + 1);
    return out;
}

SearchClause read_clause(std::string_view& rest) {
    SearchClause clause;
    if (rest.starts_with('-')) {
        clause.negated = true;
        rest.remove_prefix(1);
    }
    const auto end = std::min(rest.find_first_of("[:~"), rest.size());
    clause.field = rest.substr(0, end);
    rest.remove_prefix(end);
    if (clause.field == "metadata") {
        if (!rest.starts_with('[')) refuse_query("metadata needs a key in brackets.");
        rest.remove_prefix(1);
        clause.metadata_key = quoted(rest);
        if (!rest.starts_with(']')) refuse_query("a bracket is not closed.");
        rest.remove_prefix(1);
    } else if (clause.field != "email" && clause.field != "name" && clause.field != "phone") {
        refuse_query(fmt::format("field `{}` is not supported.", clause.field));
    }
    if (rest.empty() || (rest.front() != ':' && rest.front() != '~')) refuse_query("':' expected.");
    clause.operation = rest.front();
    rest.remove_prefix(1);
    if (rest.starts_with("null")) {
        rest.remove_prefix(4);
    } else {
        clause.value = quoted(rest);
    }
    return clause;
}

std::vector<SearchClause> read_query(std::string_view rest) {
    std::vector<SearchClause> clauses;
    while (true) {
        while (rest.starts_with(' ')) rest.remove_prefix(1);
        clauses.push_back(read_clause(rest));
        while (rest.starts_with(' ')) rest.remove_prefix(1);
        if (rest.empty()) return clauses;
        if (!rest.starts_with("AND ") && !rest.starts_with("and ")) refuse_query("AND expected.");
        rest.remove_prefix(4);
    }
}

bool matches(const SearchClause& clause, const Json& customer) {
    const Json* found = member(customer, clause.field);
    if (found != nullptr && clause.field == "metadata") found = member(*found, clause.metadata_key);
    bool match = false;
    if (!clause.value) {
        match = found == nullptr || found->is_null();
    } else if (found != nullptr && found->is_string()) {
        const std::string have = to_lower(found->get<std::string>());
        const std::string want = to_lower(*clause.value);
        match = clause.operation == ':' ? have == want : have.find(want) != std::string::npos;
    }
    return match != clause.negated;
}

void expand_path(Json& object, std::string_view path, const StripeAccount& account) {
    if (object.is_array()) {
        for (Json& element : object) expand_path(element, path, account);
        return;
    }
    const auto dot = path.find('.');
    const std::string field(path.substr(0, dot));
    const auto found = object.is_object() ? object.find(field) : object.end();
    if (!object.is_object() || found == object.end()) {
        throw StripeRefusal{.message =
                                fmt::format("This property cannot be expanded ({}).", field)};
    }
    if (found->is_string()) {
        const Collection::Object target = account.find(found->get<std::string>());
        if (target) *found = *target;
    }
    if (dot != std::string_view::npos && !found->is_null()) {
        expand_path(*found, path.substr(dot + 1), account);
    }
}

}  // namespace

StripeRefusal missing_resource(std::string_view kind, const std::string& id, std::string param) {
    return {.status = 404,
            .code = "resource_missing",
            .message = fmt::format("No such {}: '{}'", kind, id),
            .param = std::move(param),
            .stored = true};
}

steps::HttpReply stripe_error(const StripeRefusal& refusal) {
    Json error = {{"type", refusal.type}, {"message", refusal.message}};
    if (!refusal.code.empty()) {
        error["code"] = refusal.code;
        error["doc_url"] = "https://stripe.com/docs/error-codes/" + [](std::string code) {
            std::replace(code.begin(), code.end(), '_', '-');
            return code;
        }(refusal.code);
    }
    if (!refusal.param.empty()) error["param"] = refusal.param;
    return json_reply(refusal.status, {{"error", std::move(error)}});
}

Collection::Object Collection::put(Json object) {
    const std::string id = string_at(object, "id");
    auto shared = std::make_shared<const Json>(std::move(object));
    const auto found = positions_.find(id);
    if (found != positions_.end()) {
        objects_[found->second] = shared;
    } else {
        positions_.emplace(id, objects_.size());
        objects_.push_back(shared);
    }
    return shared;
}

Collection::Object Collection::find(const std::string& id) const {
    const auto found = positions_.find(id);
    return found == positions_.end() ? nullptr : objects_[found->second];
}

std::optional<std::size_t> Collection::position(const std::string& id) const {
    const auto found = positions_.find(id);
    if (found == positions_.end()) return std::nullopt;
    return found->second;
}

Collection::Object StripeAccount::find(const std::string& object_id) const {
    for (const Collection* collection :
         {&customers, &subscriptions, &invoices, &sessions, &products, &prices}) {
        if (auto object = collection->find(object_id)) return object;
    }
    return nullptr;
}

EventRecord* StripeAccount::find_event(const std::string& event_id) {
    const auto found = std::find_if(events.rbegin(), events.rend(),
                                    [&](const EventRecord& event) { return event.id == event_id; });
    return found == events.rend() ? nullptr : &*found;
}

Collection& StripeAccount::collection(std::string_view object_kind) {
    if (object_kind == "customer") return customers;
    if (object_kind == "subscription") return subscriptions;
    if (object_kind == "invoice") return invoices;
    if (object_kind == "checkout.session") return sessions;
    if (object_kind == "product") return products;
    return prices;
}

Json list_page(const StripeAccount& account, const Collection& collection, const Call& call,
               const std::function<bool(const Json&)>& wanted) {
    const CreatedRange range = created_range(call);
    const auto& objects = collection.in_order();
    const Page page = page_of(
        objects.size(), call, [&](const std::string& id) { return collection.position(id); },
        [&](std::size_t i) {
            return range.contains(created_of(*objects[i])) && wanted(*objects[i]);
        });
    Json list = {{"object", "list"}, {"url", call.path}, {"has_more", page.has_more}};
    Json& data = list["data"] = Json::array();
    for (const std::size_t position : page.positions) data.push_back(*objects[position]);
    expand(list, call.query, account);
    return list;
}

Json list_events(const StripeAccount& account, const Call& call) {
    const CreatedRange range = created_range(call);
    std::vector<std::string> types = find_all(call.query, "types");
    if (const auto type = find_param(call.query, "type")) types.push_back(*type);
    if (types.size() > 20) {
        throw StripeRefusal{.message = "You may pass at most 20 types.", .param = "types"};
    }
    const auto delivered = find_param(call.query, "delivery_success");
    const auto& events = account.events;
    const auto wanted = [&](std::size_t i) {
        const EventRecord& event = events[i];
        const bool of_type =
            types.empty() || std::any_of(types.begin(), types.end(), [&](const std::string& type) {
                return type_wanted(type, event.draft->type);
            });
        return event.form() == EventForm::snapshot && of_type &&
               range.contains(event.draft->now_ms / 1000) &&
               (!delivered || (*delivered == "true") == event.delivered);
    };
    const Page page = page_of(
        events.size(), call,
        [&](const std::string& id) -> std::optional<std::size_t> {
            for (std::size_t i = 0; i < events.size(); ++i) {
                if (events[i].id == id) return i;
            }
            return std::nullopt;
        },
        wanted);
    Json list = {{"object", "list"}, {"url", call.path}, {"has_more", page.has_more}};
    Json& data = list["data"] = Json::array();
    for (const std::size_t position : page.positions)
        data.push_back(event_json(render(events[position])));
    return list;
}

Json search_customers(const StripeAccount& account, const Call& call) {
    const auto query = find_param(call.query, "query");
    if (!query) {
        throw StripeRefusal{.code = "parameter_missing",
                            .message = "Missing required param: query.",
                            .param = "query"};
    }
    const std::vector<SearchClause> clauses = read_query(*query);
    const std::size_t limit = limit_of(call);
    Json result = {{"object", "search_result"},
                   {"url", call.path},
                   {"has_more", false},
                   {"next_page", nullptr}};
    Json& data = result["data"] = Json::array();
    // The page token is the id of the last customer of the page before.
    const auto page = find_param(call.query, "page");
    const auto& objects = account.customers.in_order();
    const std::size_t from = page ? account.customers.position(*page).value_or(0) : objects.size();
    for (std::size_t i = from; i-- > 0;) {
        const Json& customer = *objects[i];
        const bool match = member(customer, "deleted") == nullptr &&
                           std::all_of(clauses.begin(), clauses.end(), [&](const auto& clause) {
                               return matches(clause, customer);
                           });
        if (!match) continue;
        if (data.size() == limit) {
            result["has_more"] = true;
            result["next_page"] = string_at(data.back(), "id");
            break;
        }
        data.push_back(customer);
    }
    expand(result, call.query, account);
    return result;
}

void expand(Json& object, const Params& params, const StripeAccount& account) {
    for (const std::string& path : find_all(params, "expand")) {
        if (std::count(path.begin(), path.end(), '.') > 3) {
            throw StripeRefusal{.message = "You cannot expand more than 4 levels of a property."};
        }
        expand_path(object, path, account);
    }
}

}  // namespace steplog::sandbox
