// What goes between an instance and the outside: what it has published, and
// signals: messages for an instance, kept in its log from when they arrive, and what a wait takes
// of them. The log holds what arrived and what was taken; the table signals only finds, without
// reading a log, what nobody has taken yet and what a sender sent before.
#include <fmt/format.h>

#include "engine/entries.h"
#include "engine/transitions.h"

namespace steplog {
namespace {

void check(const SignalRequest& request) {
    if (request.name.empty() || request.name.size() > 255)
        throw StoreError(StoreError::Kind::constraint,
                         "a signal's name must have 1 to 255 characters");
    if (request.dedupe_id.size() > 255)
        throw StoreError(StoreError::Kind::constraint,
                         "a signal's id may have at most 255 characters");
    if (request.payload.size() > signal_bytes_max)
        throw StoreError(StoreError::Kind::constraint,
                         beyond_limit("the signal " + request.name,
                                      static_cast<std::int64_t>(request.payload.size()), "bytes",
                                      signal_bytes_max, "signal_bytes_max", large_remedy));
    if (Json::parse(request.payload, nullptr, false).is_discarded())
        throw StoreError(StoreError::Kind::constraint, "a signal's payload must be JSON");
}

}  // namespace

Signalled Transitions::signal(const SignalRequest& request) {
    check(request);
    Row row;
    std::string state, code;
    bool awaited = false;
    {
        Query read(statements_,
                   "SELECT seq, id, key, holds_key, step, log_length, log_hash, state, error_code, "
                   "state='waiting' AND waits_for='signal' AND waits_detail=? FROM instances WHERE "
                   "id=?",
                   request.name, newest_run(request.instance));
        if (!read.next()) return {.refused = "not found"};
        row = {read.integer(0), read.text(1),    read.text(2), read.integer(3) != 0,
               read.text(4),    read.integer(5), read.hash(6)};
        state = read.text(7);
        code = read.text(8);
        awaited = read.integer(9) != 0;
    }
    if (is_finished(parse_state(state).value_or(State::pending)))
        return {.refused = fmt::format("{}: it has ended", state)};
    if (code == "log_damaged") return {.refused = "log_damaged: its log does not verify"};
    std::optional<std::string> dedupe_id;
    if (!request.dedupe_id.empty()) dedupe_id = request.dedupe_id;
    if (dedupe_id &&
        Query(statements_, "SELECT 1 FROM signals WHERE instance=? AND name=? AND dedupe_id=?",
              row.seq, request.name, *dedupe_id)
            .next())
        return {.duplicate = true};
    {
        Query waiting(statements_,
                      "SELECT count(*) FROM signals WHERE instance=? AND taken_by_n IS NULL",
                      row.seq);
        if (waiting.next() && waiting.integer(0) >= signals_waiting_max)
            return {.refused = fmt::format("{} signals wait for it already", signals_waiting_max)};
    }
    const Entry arrived = append(row, {.kind = EntryKind::signal,
                                       .data = {{"signal", request.name}},
                                       .payload = request.payload});
    Query(statements_,
          "INSERT INTO signals(instance,name,dedupe_id,payload,sent_at_ms) SELECT instance, ?, ?, "
          "payload, at_ms FROM entries WHERE instance=? AND n=?",
          request.name, dedupe_id, row.seq, arrived.n)
        .run();
    Query(statements_, "UPDATE instances SET log_length=?, log_hash=?, updated_at_ms=? WHERE seq=?",
          row.log_length, row.log_hash, now(), row.seq)
        .run();
    if (awaited)
        Query(statements_,
              "UPDATE instances SET state='pending', due_at_ms=?, waits_for=NULL, "
              "waits_detail=NULL WHERE seq=?",
              now(), row.seq)
            .run();
    if (!request.actor.empty())
        audit(request.actor, "signal", row.id,
              {{"signal", request.name}, {"was", state}, {"reason", request.reason}});
    return {};
}

// The last of each name.
Published Transitions::published(const std::string& instance) {
    Published published;
    std::vector<std::optional<std::int64_t>> payloads;
    const auto seq = find_instance(instance);
    if (!seq) return published;
    published.found = true;
    {
        Query read(statements_,
                   "SELECT step, at_ms, payload FROM entries WHERE instance=? AND "
                   "kind='published' ORDER BY step, n",
                   *seq);
        while (read.next()) {
            const std::string name = read.text(0);
            if (payloads.empty() || published.values.back().name != name) {
                published.values.emplace_back();
                payloads.emplace_back();
            }
            published.values.back() = {name, {}, read.integer(1)};
            payloads.back() = read.maybe_integer(2);
        }
    }
    for (std::size_t i = 0; i < payloads.size(); ++i)
        published.values[i].value = read_payload(payloads[i]);
    return published;
}

Awaited Transitions::await_signal(Row& row, const AwaitSignal& wait) {
    Awaited awaited;
    NewEntry entry{.step = wait.wait, .kind = EntryKind::signal};
    if (const auto arrived = arrived_signal(row, wait)) {
        entry.data["took"] = *arrived;
        const std::int64_t n = append(row, entry).n;
        awaited.kind = Awaited::Kind::taken;
        awaited.payload = take_signal(row, *arrived, n);
    } else if (wait.until_ms && *wait.until_ms <= now()) {
        entry.data["timed_out"] = true;
        append(row, entry);
        awaited.kind = Awaited::Kind::timed_out;
    } else if (!wait.begun) {
        entry.data["signal"] = wait.signal;
        if (wait.until_ms) entry.data["until_ms"] = *wait.until_ms;
        append(row, entry);
    }
    return awaited;
}

// The number of the entry that the wait gets. Whoever wants the first one gets it again and again.
std::optional<std::int64_t> Transitions::arrived_signal(const Row& row, const AwaitSignal& wait) {
    if (wait.first_only) {
        Query read(statements_,
                   "SELECT n, data FROM entries WHERE instance=? AND kind='signal' AND step='' "
                   "ORDER BY n",
                   row.seq);
        while (read.next())
            if (parse_stored(read.text(1)).value("signal", Json()) == wait.signal)
                return read.integer(0);
        return std::nullopt;
    }
    Query read(statements_,
               "SELECT n FROM entries WHERE instance=?1 AND payload=(SELECT payload FROM signals "
               "WHERE instance=?1 AND name=?2 AND taken_by_n IS NULL ORDER BY seq LIMIT 1)",
               row.seq, wait.signal);
    if (!read.next()) return std::nullopt;
    return read.integer(0);
}

std::optional<std::string> Transitions::take_signal(const Row& row, std::int64_t arrived,
                                                    std::int64_t taken_by) {
    std::optional<std::int64_t> id;
    std::optional<std::string> payload;
    {
        Query read(statements_,
                   "SELECT payload, payload_hash FROM entries WHERE instance=? AND n=?", row.seq,
                   arrived);
        read.next();
        id = read.maybe_integer(0);
        payload = read_payload(id);
        if (payload && keyed_hash(payload_hash_key_, *payload) != read.hash(1))
            throw StoreError(StoreError::Kind::constraint,
                             "a stored signal is not what was sent: the database is damaged, "
                             "restore a backup");
    }
    // What its sender may send again is remembered.
    Query(statements_,
          "DELETE FROM signals WHERE instance=? AND taken_by_n IS NULL AND payload=? AND dedupe_id "
          "IS NULL",
          row.seq, id)
        .run();
    Query(statements_,
          "UPDATE signals SET taken_by_n=? WHERE instance=? AND taken_by_n IS NULL AND payload=?",
          taken_by, row.seq, id)
        .run();
    return payload;
}

std::optional<std::string> Transitions::read_payload(std::optional<std::int64_t> id) {
    Payloads::Body body = payloads_.read(id);
    if (body.damaged || body.sealed)
        throw StoreError(StoreError::Kind::constraint,
                         "a stored signal, output or published value does not open with its key: "
                         "the database is "
                         "damaged, restore a backup");
    return std::move(body.text);
}

// Each part by an index.
void delete_signals(Statements& statements, std::int64_t instance) {
    Query(statements, "DELETE FROM signals WHERE instance=? AND taken_by_n IS NULL", instance)
        .run();
    Query(statements, "DELETE FROM signals WHERE instance=? AND dedupe_id IS NOT NULL", instance)
        .run();
}

}  // namespace steplog
