// Everything about one customer.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "engine/inspect.h"
#include "engine/inspect_file.h"
#include "engine/inspect_redact.h"
#include "engine/inspect_rows.h"

namespace steplog {
namespace {

constexpr int leaps_max = 1000;

/// Where a customer's id was found.
struct Found {
    std::set<std::int64_t> instances;
    std::set<std::string> once_keys;
    bool all_heads = true;  // so no key can be left that also ends with it
};

// Ordered keys of which each is parted by a separator: "shop:true::cus_1".
struct Keys {
    const char* behind;  // the first key not before ?1
    char separator;
};
constexpr Keys instance_keys{"SELECT min(key) FROM instances WHERE key>=?", ':'};
constexpr Keys once_keys{"SELECT min(key) FROM once_keys WHERE key>=?", '/'};

// What keys have before their last part, read by leaps: of each head the first key only. Nothing
// where there are too many of them.
std::optional<std::vector<std::string>> heads_of(Statements& statements, const Keys& keys) {
    std::vector<std::string> heads;
    std::string from;
    for (int leaps = 0; leaps < leaps_max; ++leaps) {
        Query first(statements, keys.behind, from);
        if (!first.next() || first.is_null(0)) return heads;
        const std::string key = first.text(0);
        const auto parted = key.rfind(keys.separator);
        if (parted == std::string::npos) {
            from = key + '\0';
            continue;
        }
        heads.push_back(key.substr(0, parted + 1));
        from = key.substr(0, parted) + static_cast<char>(keys.separator + 1);
    }
    return std::nullopt;
}

void collect(Statements& statements, const char* sql, const std::string& text,
             std::set<std::int64_t>& seqs) {
    Query read(statements, sql, text);
    while (read.next()) seqs.insert(read.integer(0));
}

void collect_children(Statements& statements, std::set<std::int64_t>& seqs) {
    std::vector<std::int64_t> parents(seqs.begin(), seqs.end());
    while (!parents.empty()) {
        const std::int64_t parent = parents.back();
        parents.pop_back();
        Query read(statements, "SELECT seq FROM instances WHERE parent=?", parent);
        while (read.next())
            if (seqs.insert(read.integer(0)).second) parents.push_back(read.integer(0));
    }
}

// By the inbox's subject, and by the last part of keys: all of it by indexes.
Found find_by_index(Statements& statements, const std::string& customer) {
    Found found;
    collect(statements, "SELECT instance FROM events WHERE subject=? AND instance IS NOT NULL",
            customer, found.instances);
    const char* of_key = "SELECT seq FROM instances WHERE key=?";
    collect(statements, of_key, customer, found.instances);
    if (const auto heads = heads_of(statements, instance_keys))
        for (const std::string& head : *heads)
            collect(statements, of_key, head + customer, found.instances);
    else
        found.all_heads = false;
    collect_children(statements, found.instances);
    const auto once_heads = heads_of(statements, once_keys);
    if (once_heads)
        for (const std::string& head : *once_heads) found.once_keys.insert(head + customer);
    found.all_heads = found.all_heads && once_heads;
    return found;
}

// A customer's id as the last part of an instance's key, or between the slashes of its id: seen by
// looking.
std::set<std::int64_t> instances_by_name(Statements& statements, const std::string& customer,
                                         std::int64_t above, std::int64_t upper) {
    std::set<std::int64_t> found;
    Query read(statements,
               "SELECT seq FROM instances WHERE seq>?1 AND seq<=?2 AND (key=?3 OR "
               "substr(key, -length(?3)-1)=':'||?3 OR instr(id||'/', '/'||?3||'/')>0)",
               above, upper, customer);
    while (read.next()) found.insert(read.integer(0));
    return found;
}

std::set<std::string> once_keys_by_name(Statements& statements, const std::string& customer) {
    std::set<std::string> keys;
    Query read(statements, "SELECT key FROM once_keys WHERE substr(key, -length(?1)-1)='/'||?1",
               customer);
    while (read.next()) keys.insert(read.text(0));
    return keys;
}

// By indexes, and looked for among the newest. Everywhere only where those found nothing, or there
// are more kinds of keys than can be told.
Found find_named(ReadOnlyDatabase& file, const std::string& customer, std::int64_t newest) {
    Found found =
        file.read([&](Statements& statements) { return find_by_index(statements, customer); });
    for (std::int64_t upper = newest; upper > 0; upper -= rows::window) {
        found.instances.merge(file.read([&](Statements& statements) {
            return instances_by_name(statements, customer, upper - rows::window, upper);
        }));
        if (found.all_heads && !found.instances.empty()) break;
    }
    if (!found.all_heads)
        found.once_keys = file.read(
            [&](Statements& statements) { return once_keys_by_name(statements, customer); });
    return found;
}

CustomerView::Effect read_effect(Payloads& payloads, const Query& query) {
    CustomerView::Effect effect;
    effect.instance = query.text(0);
    effect.step = query.text(1);
    effect.at_ms = query.integer(2);
    effect.skipped = query.text(3) == "skipped";
    effect.adopted = rows::read_data(query.text(4)).contains("adopted");
    effect.result = rows::read_payload(payloads, query, 5);
    const Json intent = rows::read_data(query.text(8));
    if (const auto provider = intent.find("provider");
        provider != intent.end() && provider->is_string())
        effect.provider = provider->get<std::string>();
    return effect;
}

}  // namespace

CustomerView Inspector::customer(const std::string& id) {
    CustomerView view;
    view.customer = id;
    const Found named = find_named(*file_, id, newest_seq());
    static const std::string events_sql = std::string("SELECT ") + rows::event_columns +
                                          ", events.instance " + rows::event_tables +
                                          "WHERE events.subject=? ORDER BY events.seq";
    // An event that names its customer only indirectly is known by its instance, which bears its
    // id.
    static const std::string started_sql =
        std::string(
            "WITH RECURSIVE sources(name) AS (SELECT min(source) FROM events UNION ALL "
            "SELECT (SELECT min(source) FROM events WHERE source>name) FROM sources "
            "WHERE name IS NOT NULL) SELECT ") +
        rows::event_columns + " " + rows::event_tables +
        "WHERE events.source IN (SELECT name FROM sources) AND events.id=? AND events.instance=? "
        "AND events.subject IS NOT ?";
    static const std::string instance_sql =
        std::string("SELECT ") + rows::instance_columns + "FROM instances WHERE seq=?";
    view = file_->read([&](Statements& statements) {
        CustomerView found = view;
        Payloads payloads(statements, keys_);
        Query events(statements, events_sql.c_str(), id);
        while (events.next()) found.events.push_back(rows::read_event(events));
        for (const std::int64_t seq : named.instances) {
            Query read(statements, instance_sql.c_str(), seq);
            if (!read.next()) continue;
            found.instances.push_back(rows::read_instance(read));
            const std::string& name = found.instances.back().id;
            Query started(statements, started_sql.c_str(), name.substr(name.find('/') + 1), seq,
                          id);
            if (started.next()) found.events.push_back(rows::read_event(started));
            Query effects(statements,
                          "SELECT instances.id, e.step, e.at_ms, e.kind, e.data, e.payload, body, "
                          "data_key_id, "
                          "coalesce((SELECT s.data FROM entries s WHERE s.instance=e.instance AND "
                          "s.step=e.step AND s.kind='started' ORDER BY s.n DESC LIMIT 1), '{}') "
                          "FROM entries e JOIN instances ON instances.seq=e.instance "
                          "LEFT JOIN payloads ON payloads.id=e.payload "
                          "WHERE e.instance=? AND e.kind IN ('completed','skipped') "
                          "AND instr(e.data, '\"superseded\"')=0 ORDER BY e.n",
                          seq);
            while (effects.next()) found.effects.push_back(read_effect(payloads, effects));
        }
        for (const std::string& key : named.once_keys) {
            Query once(statements,
                       "SELECT key, state, instance_id, updated_at_ms FROM once_keys WHERE key=?",
                       key);
            if (once.next())
                found.once.push_back({once.text(0), once.text(1), once.text(2), once.integer(3)});
        }
        return found;
    });
    const bool nothing = view.events.empty() && view.instances.empty() && view.once.empty();
    if (nothing && !is_forgotten_name(id)) {
        // Forgotten since: what is left goes by the name that stands for the customer.
        const auto secret =
            file_->read([](Statements& statements) { return rows::payload_hash_key(statements); });
        const std::string name = forgotten_name(secret.value_or(Hash{}), id);
        const auto left = file_->read([&](Statements& statements) {
            return Query(statements, "SELECT 1 FROM events WHERE subject=?", name).next();
        });
        if (left) return customer(name);
    }
    if (nothing)
        throw InspectError(
            InspectError::Kind::not_found,
            fmt::format("nothing is known of the customer {}: workflow-inspect events "
                        "shows what has arrived",
                        printable(redact_text(id))));
    std::stable_sort(view.events.begin(), view.events.end(), [](const auto& a, const auto& b) {
        return a.received_at_ms < b.received_at_ms;
    });
    std::stable_sort(view.effects.begin(), view.effects.end(),
                     [](const auto& a, const auto& b) { return a.at_ms < b.at_ms; });
    return view;
}

}  // namespace steplog
