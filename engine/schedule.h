// Schedules: workflows that the clock starts. What a program defines, and what becomes of each
// time. Values and pure functions; used by the store, the engine and whoever shows schedules.
#pragma once

#include "engine/cron.h"
#include "engine/types.h"

namespace steplog {

/// What happens when a schedule is due while an instance that it started is unfinished. Spelled as
/// stored.
enum class Overlap {
    skip,         // nothing is started this time
    queue,        // the new one waits until those before it have ended
    allow,        // they run beside each other
    cancel_other  // the unfinished ones are cancelled, then the new one runs
};
/// The word as it is stored, and the inverse: nothing for a word that is not one.
std::string_view to_string(Overlap);
std::optional<Overlap> parse_overlap(std::string_view);

/// In bytes.
inline constexpr std::size_t schedule_name_length_max = 100;

/// What a program defines at its start. For each nominal time at most one instance is ever started,
/// in the transaction that decides about that time; its input is `input` with the nominal time
/// added as "scheduled_at".
struct Schedule {
    std::string name;  // letters, digits and ._- , at most 100; part of its instances' ids
    std::string workflow;
    int version = newest_version;   // Engine::schedule puts the number in its place
    std::string cron;               // see parse_cron
    std::string time_zone = "UTC";  // an IANA name: "Europe/Berlin"
    /// Overlap is judged by the key: what holds it, or waits in its line, is unfinished, whoever
    /// started it; what has taken another key, or is stuck with OnStuck::release_key, is not.
    Overlap overlap = Overlap::skip;
    std::string key = {};  // of its instances; "": "schedule:<name>", and none with Overlap::allow
    OnStuck on_stuck = OnStuck::keep_key;
    Ms catch_up = std::chrono::hours(24);  // what was missed by less is made up for
    Ms jitter{0};  // each time is put off by up to so much, always by the same for the same time
    Json input = Json::object();
};

/// Throws std::invalid_argument with a sentence that names the schedule and what is wrong.
void require_valid(const Schedule& schedule);

/// What the store decided about one nominal time, or about several that were missed in a row.
struct ScheduleDecision {
    enum class Outcome { started, skipped, missed } outcome = Outcome::started;
    std::string schedule, workflow;
    std::int64_t at_ms = 0;  // the nominal time; the last of those missed
    int count = 1;
    std::string instance = {};  // started
};
/// "started", "skipped" or "missed".
std::string_view to_string(ScheduleDecision::Outcome);

/// What a person orders.
struct ScheduleChange {
    enum class Kind { pause, unpause, trigger } kind = Kind::pause;
    std::string name;
    std::string actor = "unknown";  // for the audit: "uid:1000"
    std::string reason = {};        // for the audit
};
/// "pause", "unpause" or "trigger".
std::string_view to_string(ScheduleChange::Kind);

/// What became of the order.
struct ScheduleChanged {
    std::string refused = {};                     // "" or why nothing was done
    std::string instance = {};                    // trigger: the one that was started
    std::optional<std::int64_t> next_at_ms = {};  // nominal; nothing while it is paused
};

/// The key that a schedule's instances have; "" for none.
std::string key_of(const Schedule& schedule);

/// "<workflow>/schedule/<name>/2026-03-29T07:00:00Z": the same nominal time gives the same id, so
/// that it is never started twice. One that a person triggered has milliseconds and ends
/// "/triggered".
std::string scheduled_instance_id(const std::string& workflow, const std::string& name,
                                  std::int64_t at_ms, bool triggered);

/// When a nominal time is due: at most `jitter` later, the same for the same name and time.
std::int64_t due_with_jitter(const std::string& name, std::int64_t at_ms, Ms jitter);

}  // namespace steplog
