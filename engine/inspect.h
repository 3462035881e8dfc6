// The read-only reader: what instances exist, why each stands where it stands, and whether the
// engine's promises hold in a file. Used by workflow-inspect, workflow-resume and whatever shows
// state. Never changes a byte; works beside a live server, after a crash and on a copy. An
// Inspector belongs to one thread. Every function throws InspectError (engine/errors.h). What
// comes back is as stored: redact before showing it (engine/inspect_json.h does).
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/cipher.h"
#include "engine/clock.h"
#include "engine/restore.h"
#include "engine/store.h"
#include "engine/types.h"

namespace steplog {

class ReadOnlyDatabase;  // engine/inspect_file.h
class Statements;

/// One instance without its log. Times are Unix milliseconds.
struct InstanceRow {
    std::int64_t seq = 0;
    std::string id, workflow;
    int version = 1;
    State state = State::pending;
    std::optional<WaitsFor> waits_for;
    std::string waits_detail;
    std::string key;
    bool holds_key = false;
    std::string step;
    int attempt = 0;
    int deaths = 0;
    std::string error_code, error;
    std::int64_t log_length = 0;
    std::int64_t created_at_ms = 0, updated_at_ms = 0;
    std::optional<std::int64_t> due_at_ms, finished_at_ms;
    std::optional<std::int64_t> cancel_requested_at_ms;  // asked to end while it ran
    int priority = 0;
    std::optional<std::int64_t> deadline_ms;
};

/// Whether it queues for its key and is to be held when its turn comes.
inline bool is_paused_in_line(const InstanceRow& row) {
    return row.state == State::queued && row.waits_detail.starts_with("paused ");
}

/// Which instances to list: those that match all that is set.
struct InstanceFilter {
    std::optional<State> state = {};
    std::string workflow = {}, key = {}, step = {}, error_code = {};
    std::optional<Ms> older_than = {};  // not updated for so long
    int limit = 0;                      // 0: all
};

/// Why an instance stands where it stands.
struct Explanation {
    std::string sentence;  // all of what follows, for a person
    std::int64_t since_ms = 0;
    std::string next;                        // what happens by itself; "" when nothing does
    std::optional<std::int64_t> next_at_ms;  // and when, where a time is set
    std::string command;                     // what hastens it; "" when nothing can
    std::int64_t queued_behind = 0;          // instances that wait for this one's key
};

/// A message in the inbox.
struct EventRow {
    std::string source, id, type, subject, disposition, reason;
    std::string instance;        // id; "" for none, or one that retention has deleted
    std::int64_t conflicts = 0;  // deliveries of the same id with another body
    std::int64_t received_at_ms = 0;
};

/// A payload: absent, or there, or there once and forgotten or deleted since, or there and not to
/// be read.
struct Payload {
    bool forgotten = false;
    bool encrypted = false;  // with a key that the Inspector was not given
    bool damaged = false;    // it does not open with its key
    std::optional<std::string> text;
};

/// A row of the step log with its result or request.
struct LogEntry {
    Entry entry;
    Payload payload;
};

/// The last value that an instance has published under a name.
struct PublishedView {
    std::string name;
    std::int64_t at_ms = 0;
    Payload value;
};

/// How many runs of an id are shown with each of them.
inline constexpr int runs_shown_max = 20;

/// Everything that is known of one instance.
struct InstanceDetail {
    InstanceRow row;
    Payload input, output;
    std::vector<LogEntry> log;
    std::vector<PublishedView> published;  // by name
    std::vector<InstanceRow> runs;  // of its id, where there are several: the newest runs_shown_max
    std::vector<std::string> near_limits;  // by the default limits, in a sentence each
    std::string damage;                    // "" or where the log does not verify
    std::optional<EventRow> event;
    Explanation why;
};

/// A provider's breaker that is not closed, or closed after failures in a row.
struct BreakerView {
    std::string provider;
    BreakerState state = BreakerState::closed;
    int failures = 0;         // in a row
    std::int64_t parked = 0;  // instances that wait for it to close
    std::optional<std::int64_t> opened_at_ms;
    std::optional<std::int64_t> next_at_ms;  // when an instance tries, or more are released
    std::optional<std::int64_t> held_at_ms;  // paused by a person since
    std::string reason;                      // code of the failure that opened it
};

/// A limit for which instances are parked.
struct LimitView {
    Limit limit;              // the name of an entity is a hash
    Rate rate = {};           // as it was used last; for rates
    std::int64_t parked = 0;  // instances that wait for room, or for their turn
};

/// A workflow that a person has paused.
struct PausedWorkflow {
    std::string workflow;
    std::int64_t since_ms = 0;
    std::int64_t held = 0;  // instances that were due since, and wait for that
};

/// The whole database in numbers. Times are Unix milliseconds.
struct Stats {
    std::map<State, std::int64_t> by_state;  // every state, also those with none
    std::int64_t instances = 0, entries = 0;
    std::int64_t created_last_hour = 0, finished_last_hour = 0, finished_last_day = 0;
    std::optional<std::int64_t> oldest_unfinished_at_ms;  // created
    std::optional<std::int64_t> oldest_stuck_at_ms;       // stuck since
    std::int64_t due = 0;                                 // pending, and due by now
    std::optional<std::int64_t> oldest_due_at_ms;
    struct Group {
        std::string workflow, step, error_code;
        std::int64_t count = 0;
    };
    std::vector<Group> stuck;                    // largest first
    std::map<std::string, std::int64_t> events;  // by disposition
    std::vector<BreakerView> breakers;           // by provider
    std::vector<LimitView> limits;               // … and limits that keep instances waiting
    std::vector<PausedWorkflow> paused_workflows;
    std::int64_t paused = 0;  // instances, each by itself
    std::int64_t database_bytes = 0, wal_bytes = 0;
    bool owned = false;  // a server (or command) has the database's lock
    std::string owner_program;
    std::int64_t owner_pid = 0, owner_started_at_ms = 0;
};

/// What is unfinished now.
struct Backlog {
    std::vector<Stats::Group> stuck;               // largest first
    std::map<State, std::int64_t> by_state;        // every unfinished state, also those with none
    std::optional<std::int64_t> oldest_due_at_ms;  // of those that no worker has taken yet
    std::vector<BreakerView> breakers;             // by provider
    std::vector<LimitView> limits;                 // … and limits that keep instances waiting
};

/// Everything that is known of one customer.
struct CustomerView {
    std::string customer;
    std::vector<EventRow> events;
    std::vector<InstanceRow> instances;
    struct Effect {
        std::string instance, step, provider;
        std::int64_t at_ms = 0;
        bool adopted = false;
        bool skipped = false;  // by a person
        Payload result;
    };
    std::vector<Effect> effects;  // finished steps, in order of time
    struct Once {
        std::string key, state, instance;
        std::int64_t updated_at_ms = 0;
    };
    std::vector<Once> once;
};

/// A schedule as it stands. `schedule` is without its input.
struct ScheduleView {
    Schedule schedule;
    std::optional<std::int64_t> next_at_ms, due_at_ms;  // due: with its jitter
    std::optional<std::int64_t> paused_at_ms;
    std::optional<std::int64_t> last_at_ms;  // the nominal time that was decided last
    std::string last_outcome, last_instance;
    std::int64_t started = 0, skipped = 0, missed = 0;
    std::string error;                   // why there is no next time
    std::vector<std::int64_t> upcoming;  // nominal times; while it is paused, those that would be
};

/// A version of a workflow, as far as the database knows it.
struct VersionView {
    std::string workflow;
    int version = 1;
    std::map<State, std::int64_t> unfinished;  // by state; only those of which there are any
    std::int64_t finished = 0;
    std::optional<std::int64_t> oldest_unfinished_at_ms;  // created
    std::vector<std::string> schedules;                   // that start it
    bool newest = false;                                  // the highest of its workflow here
    /// No unfinished instance needs it, and nothing that the database knows of starts another.
    bool safe_to_remove() const { return unfinished.empty() && schedules.empty() && !newest; }
};

/// One promise, looked after in the whole file.
struct Check {
    std::string name;     // short and stable: "hash_chain"
    std::string promise;  // one sentence
    std::int64_t looked_at = 0;
    std::int64_t broken = 0;
    std::vector<std::string> examples;  // what is broken; at most Check::examples_max of them
    static constexpr std::size_t examples_max = 20;
};

/// What a check found, promise by promise.
struct CheckReport {
    std::vector<Check> checks;
    std::optional<BackupMark> backup;  // the file is a backup
    std::vector<Restore> restores;     // …or was restored from one, oldest first
    Ms took{0};                        // how long one read transaction was held
    std::int64_t wal_bytes = 0;        // at its end
    bool holds() const;
};

/// What a resume would do, by the same rules as Store::resume.
struct Resumable {
    std::vector<InstanceRow> instances;
    std::vector<Resumed::Skipped> skipped;
};

/// Looks at one database. Opening it is cheap: make one for each question, or keep it.
class Inspector {
  public:
    /// Opens and checks the file: see ReadOnlyDatabase. With `keys` encrypted payloads are read.
    /// With older schemas only each_unfinished may be asked.
    Inspector(std::filesystem::path database, const Clock& clock, std::string vfs = {},
              std::vector<MasterKey> keys = {}, Schemas schemas = Schemas::present);
    ~Inspector();

    /// The instance that `text` means, of several runs the newest unless it says which: its id,
    /// else the one whose id ends or begins with it, or has a part between slashes that begins with
    /// it. Throws not_found, or ambiguous with candidates.
    InstanceRow find(const std::string& text);

    /// Newest first.
    std::vector<InstanceRow> list(const InstanceFilter& filter);

    /// Those that wait for a person, the longest waiting first, each with why.
    struct Stuck {
        InstanceRow row;
        Explanation why;
    };
    std::vector<Stuck> stuck();

    InstanceDetail show(const std::string& text);

    /// Calls `look` with each unfinished instance in order of arrival, as it stands when its turn
    /// comes, without its event and its why. Each is read in a transaction of its own.
    void each_unfinished(const std::function<void(const InstanceDetail&)>& look);

    /// The versions of which there are instances, or which a schedule starts, by workflow and
    /// version.
    std::vector<VersionView> versions();

    struct Why {
        InstanceRow row;
        Explanation explanation;
    };
    Why why(const std::string& text);

    /// The steps of an instance in the order of their first attempt, as far as its log tells.
    struct Step {
        std::string name,
            provider;  // provider: whom its last attempt asked; "" when it asked nobody
        bool finished = false;
        bool has_undo = false;  // finished, and its workflow says how it is taken back
    };
    std::vector<Step> steps(const InstanceRow& row);

    Stats stats();

    /// Cheap enough for every few seconds: reads what is unfinished, not the whole file.
    Backlog backlog();

    /// The unfinished instances of a workflow, in order of arrival. Costs what backlog() does.
    std::vector<InstanceRow> unfinished_of(const std::string& workflow);

    /// When the oldest unfinished instance of `workflow` that has not finished `step` was created;
    /// stuck ones with one of these error codes do not count.
    std::optional<std::int64_t> oldest_without(const std::string& workflow, const std::string& step,
                                               const std::vector<std::string>& but_codes);

    /// Everything that is known of a customer, by the inbox's subject and by the keys of instances.
    /// Throws not_found when nothing is.
    CustomerView customer(const std::string& id);

    /// The inbox, newest first; with `unrouted` only what became no instance. limit 0: all.
    std::vector<EventRow> events(bool unrouted, int limit);

    /// All of them by name, each with so many times that come next.
    std::vector<ScheduleView> schedules(int upcoming);

    /// Integrity and the engine's promises. Reads every row in one transaction, however long that
    /// takes; the server's WAL grows meanwhile.
    CheckReport check();

    Resumable resumable(const ResumeRequest& request);

    /// Whether the inbox has a message of this type about this subject, forgotten since or not.
    bool has_event(const std::string& source, const std::string& type, const std::string& subject);

    /// When the oldest message came that is still in the inbox.
    std::optional<std::int64_t> first_event_at_ms();

    /// How much a purge would delete, by the same rules as Store::purge.
    Purged purgeable(Ms older_than);

    const std::filesystem::path& path() const;

  private:
    std::optional<InstanceRow> find_exactly(const std::string& id);
    std::string newest_run(const std::string& id);
    std::string resolve(const std::string& text);
    Explanation explain(Statements& statements, const InstanceRow& row);
    std::int64_t newest_seq();
    InstanceDetail read_whole(Statements& statements, const InstanceRow& row);

    std::unique_ptr<ReadOnlyDatabase> file_;
    const Clock& clock_;
    const std::vector<MasterKey> keys_;
};

}  // namespace steplog
