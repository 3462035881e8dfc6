#include "engine/inspect_tally.h"

#include <algorithm>
#include <array>

#include "engine/inspect_rows.h"

namespace steplog::rows {
namespace {

constexpr std::array unfinished = {State::pending,  State::queued,  State::running,
                                   State::sleeping, State::waiting, State::stuck};

// Behind which row of which state the next part begins.
struct Place {
    std::size_t state = 0;
    std::int64_t seq = 0;
};

struct Part {
    Tally tally;
    Place next;
};

void count_ended(Statements& statements, Tally& tally) {
    Query read(statements,
               "SELECT workflow, version, state, count, entries FROM ended_instances "
               "WHERE count>0");
    while (read.next())
        if (const auto state = parse_state(read.text(2)))
            tally[{read.text(0), static_cast<int>(read.integer(1)), *state}] = {
                .instances = read.integer(3), .entries = read.integer(4)};
}

void count_one(const Query& read, State state, Tally& tally) {
    Count& count = tally[{read.text(1), static_cast<int>(read.integer(2)), state}];
    ++count.instances;
    count.entries += read.integer(3);
    count.oldest_at_ms = std::min(count.oldest_at_ms.value_or(INT64_MAX), read.integer(4));
}

Part count_part(Statements& statements, Part part) {
    for (std::int64_t left = window; part.next.state < unfinished.size();
         part.next = {part.next.state + 1}) {
        const State state = unfinished[part.next.state];
        Query read(statements,
                   "SELECT seq, workflow, version, log_length, created_at_ms FROM instances "
                   "INDEXED BY instances_by_state WHERE state<>'completed' AND state=? AND seq>? "
                   "ORDER BY seq LIMIT ?",
                   to_string(state), part.next.seq, left);
        for (; read.next(); --left) {
            count_one(read, state, part.tally);
            part.next.seq = read.integer(0);
        }
        if (left == 0) return part;
    }
    count_ended(statements, part.tally);
    return part;
}

}  // namespace

Tally tally(ReadOnlyDatabase& file) {
    Part part;
    do {
        part = file.read([&](Statements& statements) { return count_part(statements, part); });
    } while (part.next.state < unfinished.size());
    return part.tally;
}

}  // namespace steplog::rows
