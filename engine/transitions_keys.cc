// Keys: who holds one, in which place, and who is next in line.
#include <algorithm>

#include "engine/transitions.h"

namespace steplog {

// The first free place among the key's holders, for one that bears so many; 0: it, or one of them,
// bears no more.
std::int64_t Transitions::free_place(const std::string& key, std::int64_t holders_max) {
    std::int64_t holders = 0, place = 1;
    Query held(statements_,
               "SELECT key_place, key_holders_max FROM instances WHERE key=? AND holds_key=1 "
               "ORDER BY key_place",
               key);
    for (; held.next(); ++holders) {
        if (held.integer(0) == place) ++place;
        holders_max = std::min(holders_max, held.integer(1));
    }
    return holders < holders_max ? place : 0;
}

// The same for one that comes anew: 0 also without a key, and where others queue before it.
std::int64_t Transitions::place_for(const std::string& key, int holders_max) {
    if (key.empty()) return 0;
    const std::int64_t place = free_place(key, holders_max);
    // Nobody queues for a key that nobody holds.
    if (place == 0 || holders_max == 1) return place;
    const bool queue =
        Query(statements_, "SELECT 1 FROM instances WHERE key=? AND state='queued'", key).next();
    return queue ? 0 : place;
}

int Transitions::key_holders_max_of(std::int64_t seq) {
    Query bears(statements_, "SELECT key_holders_max FROM instances WHERE seq=?", seq);
    return bears.next() ? static_cast<int>(bears.integer(0)) : 1;
}

// Tickets are drawn by the one writer, so their order is the order of commits.
std::int64_t Transitions::draw_ticket() {
    Query draw(statements_,
               "INSERT INTO meta(name,value) VALUES ('last_ticket',1) ON CONFLICT(name) DO UPDATE "
               "SET value=CAST(meta.value AS BIGINT)+1 RETURNING value");
    std::int64_t ticket = 0;
    while (draw.next()) ticket = draw.integer(0);
    return ticket;
}

// Those next in line, as many as there are places for. One that bears fewer holders than there are
// keeps those behind it waiting: the order of arrival is kept.
void Transitions::promote_next(const std::string& key) {
    while (promote_one(key)) {
    }
}

bool Transitions::promote_one(const std::string& key) {
    std::int64_t seq = 0, holders_max = 1;
    std::string detail;
    {
        Query next(statements_,
                   "SELECT seq, key_holders_max, waits_detail FROM instances WHERE key=? AND "
                   "state='queued' ORDER BY key_ticket LIMIT 1",
                   key);
        if (!next.next()) return false;
        seq = next.integer(0);
        holders_max = next.integer(1);
        detail = next.text(2);
    }
    const std::int64_t place = free_place(key, holders_max);
    if (place == 0) return false;
    // One that was started with a delay keeps its earliest time in waits_detail while it queues.
    Query(statements_,
          "UPDATE instances SET state='pending', due_at_ms=?, waits_for=NULL, waits_detail=NULL, "
          "key_ticket=NULL, holds_key=1, key_place=?, updated_at_ms=? WHERE seq=?",
          std::max(now(), time_in_line(not_before_in_line(detail))), place, now(), seq)
        .run();
    if (is_paused_in_line(detail)) hold(seq, false);
    return true;
}

bool Transitions::take_key(Row& row, const std::string& key) {
    if (row.key == key && row.holds_key) return true;
    const std::string old_key = row.holds_key ? row.key : "";
    const std::int64_t place = place_for(key, key_holders_max_of(row.seq));
    const bool queues = place == 0;
    Query(statements_, "UPDATE instances SET key=?, holds_key=?, key_place=? WHERE seq=?", key,
          !queues, std::max<std::int64_t>(place, 1), row.seq)
        .run();
    if (queues && any_slot_) give_back_slots(row.seq);
    if (queues)
        Query(statements_,
              "UPDATE instances SET state='queued', due_at_ms=NULL, waits_for='key', owner=NULL, "
              "key_ticket=? "
              "WHERE seq=?",
              draw_ticket(), row.seq)
            .run();
    if (!old_key.empty()) promote_next(old_key);
    row.key = key;
    row.holds_key = !queues;
    return !queues;
}

}  // namespace steplog
