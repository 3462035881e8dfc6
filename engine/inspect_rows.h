// How the Inspector's files read rows: one place for each list of columns. Private to
// engine/inspect*.
#pragma once

#include <string>

#include "engine/inspect.h"
#include "engine/payloads.h"
#include "engine/statements.h"

namespace steplog::rows {

/// How many rows are looked at in one read transaction, where all are.
inline constexpr std::int64_t window = 20'000;

/// The columns of read_instance, in its order, of a table or alias called "instances".
inline constexpr const char* instance_columns =
    "instances.seq, instances.id, instances.workflow, instances.version, instances.state, "
    "instances.waits_for, instances.waits_detail, instances.key, instances.holds_key, "
    "instances.step, instances.attempt, instances.deaths, instances.error_code, instances.error, "
    "instances.log_length, instances.created_at_ms, instances.updated_at_ms, "
    "instances.due_at_ms, instances.finished_at_ms, instances.cancel_requested_at_ms, "
    "instances.priority, instances.deadline_ms ";

/// How many they are: what a query asks for behind them begins at this column.
inline constexpr int instance_columns_count = 22;

InstanceRow read_instance(const Query& query);

/// The columns of read_event, from "events" joined to "instances".
inline constexpr const char* event_columns =
    "events.source, events.id, events.type, events.subject, events.disposition, events.reason, "
    "instances.id, events.conflicts, events.received_at_ms ";
inline constexpr const char* event_tables =
    "FROM events LEFT JOIN instances ON instances.seq=events.instance ";

EventRow read_event(const Query& query);

/// Breakers that have a row, by provider.
std::vector<BreakerView> read_breakers(Statements& statements);
/// Those for which somebody is parked.
std::vector<LimitView> read_limits(Statements& statements);
/// As it was used last.
Rate read_rate(Statements& statements, const Limit& limit);

/// Those that wait for a person, by workflow, step and error code; the largest group first.
std::vector<Stats::Group> read_stuck(Statements& statements);

/// By name.
std::vector<PausedWorkflow> read_paused_workflows(Statements& statements);

/// A payload from three columns: its number, its body and its data key.
Payload read_payload(Payloads& payloads, const Query& query, int first_column);

/// An entry's small JSON; an object that says so when it cannot be read.
Json read_data(const std::string& text);

/// The database's secret for keyed hashes; nothing when it is missing or has the wrong size.
std::optional<Hash> payload_hash_key(Statements& statements);

/// Follows one instance's log from its genesis and says where it stops being what was written.
class ChainWalk {
  public:
    /// `secret` is the database's, without which nothing can be verified.
    ChainWalk(const InstanceRow& row, const Hash& input_hash, const Hash& secret);

    /// The next entry, by n, as stored; `payload` is its body where that is still there.
    void next(const Entry& entry, const std::optional<std::string>& payload, std::string_view kind,
              std::string_view data, const std::optional<Hash>& payload_hash, const Hash& stored);
    void end(const Hash& stored_head);

    /// "" while everything verifies, else the first thing that does not.
    const std::string& damage() const { return damage_; }

  private:
    void note(std::string damage);

    const Hash secret_;
    const std::int64_t log_length_;
    Hash head_;
    std::int64_t n_ = 0;
    std::string damage_;
};

}  // namespace steplog::rows
