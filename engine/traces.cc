#include "engine/traces.h"

#include <algorithm>
#include <cctype>

#include "engine/run_id.h"
#include "engine/types.h"

namespace steplog {
namespace {

constexpr std::size_t unfinished_listed_max = 100;

bool in_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

// The instances whose key ends in the name or whose id has it as a part, and the events about it.
// What stood for the customer may stand for others elsewhere, so an event about that alone counts
// only with an instance that is known.
void find_by_name(Statements& statements, const std::string& name, bool is_customer,
                  Traces& traces) {
    Query keyed(
        statements,
        "SELECT seq FROM instances WHERE key=?1 OR substr(key, length(key)-length(?1))=':'||?1",
        name);
    while (keyed.next()) traces.instances.insert(keyed.integer(0));
    Query named(
        statements,
        "SELECT seq FROM instances WHERE replace('/'||id||'/', '/'||?||'/', '')<>'/'||id||'/'",
        name);
    while (named.next()) traces.instances.insert(named.integer(0));
    Query about(statements, "SELECT seq, instance FROM events WHERE subject=?", name);
    while (about.next()) {
        const auto instance = about.maybe_integer(1);
        if (!is_customer && instance && !traces.instances.contains(*instance)) continue;
        traces.events.insert(about.integer(0));
        if (instance) traces.instances.insert(*instance);
    }
    Query once(
        statements,
        "SELECT key FROM once_keys WHERE key=?1 OR substr(key, length(key)-length(?1))='/'||?1",
        name);
    while (once.next()) traces.once_keys.insert(once.text(0));
}

// The customer's own data keys, and whoever was accepted under the name and has taken another key
// since.
void find_data_keys(Statements& statements, const std::string& subject, Traces& traces) {
    Query keys(statements,
               "SELECT id FROM data_keys WHERE wrapped_key IS NOT NULL AND (subject=?1 OR "
               "substr(subject, length(subject)-length(?1))=':'||?1)",
               subject);
    while (keys.next()) {
        traces.data_keys.insert(keys.integer(0));
        Query sealed(statements,
                     "SELECT seq FROM instances WHERE input_payload IN (SELECT id FROM payloads "
                     "WHERE data_key_id=?)",
                     keys.integer(0));
        while (sealed.next()) traces.instances.insert(sealed.integer(0));
    }
}

// Children know their customer by their parent, and the runs of an id by each other.
void find_children(Statements& statements, Traces& traces) {
    std::vector<std::int64_t> to_ask(traces.instances.begin(), traces.instances.end());
    while (!to_ask.empty()) {
        const std::int64_t parent = to_ask.back();
        to_ask.pop_back();
        const auto add = [&](Query& read) {
            while (read.next())
                if (traces.instances.insert(read.integer(0)).second)
                    to_ask.push_back(read.integer(0));
        };
        Query children(statements, "SELECT seq FROM instances WHERE parent=?", parent);
        add(children);
        std::string first;
        {
            Query id(statements, "SELECT id FROM instances WHERE seq=?", parent);
            if (id.next()) first = first_run(id.text(0));
        }
        Query runs(statements,
                   "SELECT seq FROM instances WHERE id=?1 OR (id>=?1||'/run:' AND id<?1||'/run;')",
                   first);
        add(runs);
    }
}

// The messages that the instances came from. Returns whom they are about.
std::set<std::string> find_events(Statements& statements, Traces& traces) {
    for (const std::int64_t seq : traces.instances) {
        Query routed(statements, "SELECT seq FROM events WHERE instance=?", seq);
        while (routed.next()) traces.events.insert(routed.integer(0));
    }
    std::set<std::string> subjects;
    for (const std::int64_t seq : traces.events) {
        Query row(statements, "SELECT id, subject FROM events WHERE seq=?", seq);
        if (!row.next()) continue;
        traces.words.insert(row.text(0));
        if (!row.is_null(1)) subjects.insert(row.text(1));
    }
    traces.words.insert(subjects.begin(), subjects.end());
    return subjects;
}

// What could not be understood has no subject; the customer's id may stand in it all the same.
void find_quarantined(Statements& statements, Payloads& payloads, const std::string& subject,
                      Traces& traces) {
    Query read(
        statements,
        "SELECT seq, id, payload FROM events WHERE disposition<>'routed' AND subject IS NULL "
        "AND payload IS NOT NULL");
    while (read.next()) {
        const Payloads::Body body = payloads.read(read.integer(2));
        if (!body.text || !holds_word(*body.text, subject)) continue;
        traces.events.insert(read.integer(0));
        traces.words.insert(read.text(1));
    }
}

void add(const Query& row, int first, int columns, std::set<std::int64_t>& payloads) {
    for (int column = first; column < first + columns; ++column)
        if (const auto id = row.maybe_integer(column)) payloads.insert(*id);
}

void find_payloads_of_instance(Statements& statements, std::int64_t seq, Traces& traces) {
    Query row(statements, "SELECT id, input_payload, output_payload FROM instances WHERE seq=?",
              seq);
    if (!row.next()) return;
    traces.words.insert(row.text(0));
    add(row, 1, 2, traces.payloads);
    Query entries(statements,
                  "SELECT payload FROM entries WHERE instance=? AND payload IS NOT NULL", seq);
    while (entries.next()) add(entries, 0, 1, traces.payloads);
    Query signals(statements, "SELECT payload FROM signals WHERE instance=?", seq);
    while (signals.next()) add(signals, 0, 1, traces.payloads);
    Query once(statements, "SELECT key FROM once_keys WHERE instance=?", seq);
    while (once.next()) traces.once_keys.insert(once.text(0));
}

void find_payloads(Statements& statements, Traces& traces) {
    for (const std::int64_t seq : traces.events) {
        Query row(statements, "SELECT payload FROM events WHERE seq=?", seq);
        if (row.next()) add(row, 0, 1, traces.payloads);
    }
    for (const std::int64_t seq : traces.instances)
        find_payloads_of_instance(statements, seq, traces);
    for (const std::string& key : traces.once_keys) {
        Query row(statements, "SELECT request, result FROM once_keys WHERE key=?", key);
        if (row.next()) add(row, 0, 2, traces.payloads);
    }
}

// What else the customer's data keys have sealed is the customer's too, and could be read by nobody
// once they are gone. Hardly ever anything: then, and only then, all logs are searched for it.
void find_sealed(Statements& statements, Traces& traces) {
    std::set<std::int64_t> left;
    for (const std::int64_t key : traces.data_keys) {
        Query sealed(statements, "SELECT id FROM payloads WHERE data_key_id=? AND body IS NOT NULL",
                     key);
        while (sealed.next())
            if (!traces.payloads.contains(sealed.integer(0))) left.insert(sealed.integer(0));
    }
    if (left.empty()) return;
    const std::int64_t first = *left.begin(), last = *left.rbegin();
    const auto is_left = [&left](const Query& row, int column) {
        return !row.is_null(column) && left.contains(row.integer(column));
    };
    Query entries(statements, "SELECT instance, payload FROM entries WHERE payload BETWEEN ? AND ?",
                  first, last);
    while (entries.next())
        if (is_left(entries, 1)) traces.instances.insert(entries.integer(0));
    Query outputs(statements,
                  "SELECT seq, output_payload FROM instances WHERE output_payload BETWEEN ? AND ?",
                  first, last);
    while (outputs.next())
        if (is_left(outputs, 1)) traces.instances.insert(outputs.integer(0));
    Query events(statements, "SELECT seq, payload FROM events WHERE payload BETWEEN ? AND ?", first,
                 last);
    while (events.next())
        if (is_left(events, 1)) traces.events.insert(events.integer(0));
    Query once(statements, "SELECT key, request, result FROM once_keys");
    while (once.next())
        if (is_left(once, 1) || is_left(once, 2)) traces.once_keys.insert(once.text(0));
    find_children(statements, traces);
    find_events(statements, traces);
    find_payloads(statements, traces);
}

void list_unfinished(Statements& statements, Traces& traces) {
    std::set<std::int64_t> seqs = traces.instances;
    for (const std::string& key : traces.once_keys) {
        Query owner(statements, "SELECT instance FROM once_keys WHERE key=? AND state='claimed'",
                    key);
        if (owner.next()) seqs.insert(owner.integer(0));
    }
    for (const std::int64_t seq : seqs) {
        Query row(statements, "SELECT id FROM instances WHERE seq=? AND finished_at_ms IS NULL",
                  seq);
        if (row.next() && traces.unfinished.size() < unfinished_listed_max)
            traces.unfinished.push_back(row.text(0));
    }
}

}  // namespace

bool holds_word(const std::string& text, const std::string& word) {
    if (word.empty()) return false;
    for (auto at = text.find(word); at != text.npos; at = text.find(word, at + 1)) {
        const auto behind = at + word.size();
        if ((at == 0 || !in_word(text[at - 1])) &&
            (behind == text.size() || !in_word(text[behind])))
            return true;
    }
    return false;
}

bool Traces::named_in(const std::string& text) const {
    return std::any_of(words.begin(), words.end(),
                       [&](const std::string& word) { return holds_word(text, word); });
}

Traces find_traces(Statements& statements, Payloads& payloads, const std::string& subject) {
    Traces traces;
    find_by_name(statements, subject, true, traces);
    find_data_keys(statements, subject, traces);
    for (const std::string& other : find_events(statements, traces))
        if (other != subject && !is_forgotten_name(other))
            find_by_name(statements, other, false, traces);
    find_children(statements, traces);
    find_events(statements, traces);
    find_quarantined(statements, payloads, subject, traces);
    find_payloads(statements, traces);
    find_sealed(statements, traces);
    list_unfinished(statements, traces);
    traces.words.insert(subject);
    std::erase_if(traces.words, [](const std::string& word) { return is_forgotten_name(word); });
    return traces;
}

}  // namespace steplog
