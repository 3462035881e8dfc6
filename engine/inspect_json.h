// What the Inspector reads, as the JSON that programs get: the names of fields are part of the
// outside. Everything here is redacted (engine/inspect_redact.h) and fit to be shown. Times are RFC
// 3339, absent values null. Used by workflow-inspect --json and the admin API. Pure functions; any
// thread.
#pragma once

#include "engine/inspect.h"

namespace steplog {

/// RFC 3339 in UTC.
Json time_or_null(std::optional<std::int64_t> at_ms);

/// id, workflow, version, state, key, step, attempts, error, error_code, waits_for, waits_detail,
/// created_at, updated_at, due_at, finished_at, cancel_requested_at, log_length, deaths.
Json json_of(const InstanceRow& row);

/// An instance with input, output, log (seq, step, kind, attempt, generation, at, data),
/// log_damage, event, why, next, next_at, command, queued_behind. A log entry's data holds what the
/// engine noted, and the step's "result" or "request" where it has one.
Json json_of(const InstanceDetail& detail);

/// An instance with why, next, next_at, command, queued_behind.
Json json_of(const Inspector::Stuck& stuck);

/// id, state, waits_for, since, why, next, next_at, command, queued_behind.
Json json_of(const Inspector::Why& why);

/// source, id, type, subject, disposition, reason, instance, conflicts, received_at.
Json json_of(const EventRow& event);

Json json_of(const Stats& stats, std::int64_t now_ms);

/// customer, events, instances, effects (instance, step, provider, at, adopted, skipped, result),
/// once.
Json json_of(const CustomerView& view);

/// name, workflow, version, cron, time_zone, overlap, catch_up_ms, jitter_ms, next_at, due_at,
/// paused_at, last_at, last_outcome, last_instance, started, skipped, missed, error, upcoming.
Json json_of(const ScheduleView& view);

/// workflow, version, unfinished, states, finished, oldest_unfinished_at, schedules, newest,
/// safe_to_remove.
Json json_of(const VersionView& view);

/// ok, backup (id, taken_at), restores (backup, taken_at, restored_at), took_ms, wal_bytes, checks
/// (name, promise, ok, looked_at, broken, examples).
Json json_of(const CheckReport& report);

/// One line of JSON text; invalid UTF-8 becomes U+FFFD.
std::string dump(const Json& json, int indent = -1);

}  // namespace steplog
