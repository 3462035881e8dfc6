// What people order about instances, schedules, providers and what is stored, and what they are
// told became of it. Values only: Store carries them out, the commands and the control socket hand
// them on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/limits.h"
#include "engine/types.h"

namespace steplog {

/// Which instances a person means. Ids are exact here; the commands resolve shortened ones.
struct ResumeRequest {
    std::vector<std::string> ids = {};  // when empty: all that match the filters
    std::optional<State> state = {};    // stuck or sleeping; absent: both
    std::string workflow = {};
    std::string step = {};
    std::string error_code = {};
    std::optional<Ms> older_than = {};  // not updated for so long
    int limit = 0;                      // 0: no limit
    bool retry_now = false;             // only those that sleep between attempts, and their next
                                        // attempt now: their count and time go on as they stand
    std::string actor = "unknown";      // for the audit: "uid:1000"
    std::string reason = {};            // for the audit
};

/// Ids of the instances that go on, and of those that do not, with the reason in a few words.
struct Resumed {
    struct Skipped {
        std::string id, reason;
    };
    std::vector<std::string> ids;
    std::vector<Skipped> skipped;
};

/// Which instances a person wants to end. Ids are exact here; the commands resolve shortened ones.
struct CancelRequest {
    std::vector<std::string> ids = {};
    std::string actor = "unknown";  // for the audit: "uid:1000"
    std::string reason = {};        // a person's words, kept in the log: no personal data
    bool kill = false;              // at once, whatever it is at, and nothing is taken back
};

/// What became of the instances that somebody wants to end.
struct Cancelled {
    std::vector<std::string> ids;        // ended now
    std::vector<std::string> requested;  // end before they begin another step, or once what they
                                         // have finished is taken back
    std::vector<Resumed::Skipped> skipped;
};

/// A message for one instance: kept in its log until a wait takes it.
struct SignalRequest {
    std::string instance;          // its id, exact
    std::string name;              // 1 to 255 characters
    std::string payload = "null";  // JSON text, at most signal_bytes_max
    std::string dedupe_id = {};    // the sender's own: a second one with it is folded
    std::string actor = {};        // for the audit: "uid:1000"; "": a program's own, not audited
    std::string reason = {};       // for the audit
};

/// Limits on signals.
inline constexpr std::size_t signal_bytes_max = Limits{}.signal_bytes_max;
inline constexpr int signals_waiting_max = 1000;  // of one instance that nobody has taken yet

/// What became of a signal. Neither: it is durable in the instance's log.
struct Signalled {
    bool duplicate = false;  // one with this dedupe id is there already: nothing was written
    std::string refused;  // "" or why it was not taken in: "not found", "completed: it has ended"
};

/// What an instance has published last under a name (Context::publish).
struct PublishedValue {
    std::string name;
    std::optional<std::string> value;  // JSON text; absent: forgotten
    std::int64_t at_ms = 0;
};

/// What is known of an instance from outside while it runs.
struct Published {
    bool found = false;                  // there is an instance of that id
    std::vector<PublishedValue> values;  // by name
};

/// A person's word on a step of an instance that is stuck or sleeps between attempts. The id is
/// exact here; the commands resolve shortened ones.
struct StepDecision {
    std::string instance;
    std::string step;
    std::optional<std::string> result = {};  // JSON text: the step counts as finished with it…
    std::string code = "decided";            // …absent: as failed for good, with this code
    std::string message = {};                // and sentence
    std::string actor = "unknown";           // for the audit: "uid:1000"
    std::string reason = {};                 // for the audit
};

/// What became of it.
struct StepDecided {
    std::string refused;  // "" or why nothing was written: "not found", "finished: …"
};

/// Puts unfinished instances under another version of their workflow. Ids are exact here; the
/// commands resolve shortened ones.
struct MoveRequest {
    std::vector<std::string> ids = {};
    int to_version = 1;
    std::optional<std::vector<std::string>> workflows =
        {};  // those that have that version, where the program is known: no others are moved
    std::string actor = "unknown";  // for the audit: "uid:1000"
    std::string reason = {};        // for the audit
};

/// What a move has done.
struct Moved {
    std::vector<std::string> ids;
    std::vector<std::string> still_stuck;  // of those: for another reason than their version
    std::vector<Resumed::Skipped> skipped;
};

/// What a person orders about a provider: to hold its breaker open, or to let go of it.
struct ProviderChange {
    /// Paused, its instances are parked at their next step; unpaused, one of them tries first.
    enum class Kind { pause, unpause } kind = Kind::pause;
    std::string provider;           // 1 to 100 characters, as StepOptions::provider names it
    std::string actor = "unknown";  // for the audit: "uid:1000"
    std::string reason = {};        // for the audit
};
/// "pause" or "unpause".
std::string_view to_string(ProviderChange::Kind);

/// What became of the order.
struct ProviderChanged {
    std::string refused = {};  // "" or why nothing was done
    std::int64_t parked = 0;   // instances that wait for this provider now
};

/// What a person does to instances beside resuming, cancelling, moving them and deciding about
/// their steps. Ids are exact here; the commands resolve shortened ones.
struct OperateRequest {
    enum class Kind {
        pause,             // it begins nothing more, and keeps its place
        unpause,           // it stands again where it stood; what has come due meanwhile is due
        pause_workflow,    // nothing of these workflows is claimed
        unpause_workflow,  // what waited for that is due
        edit,              // `payload` is the input of a stuck instance from now on
        fork               // a new instance has what was finished before `step`, and goes on there
    } kind = Kind::pause;
    std::vector<std::string> ids = {};  // of instances; where a workflow is paused: of workflows
    std::string step = {};
    std::string payload = {};       // JSON text, at most operation_bytes_max
    std::string new_id = {};        // of fork
    bool cancel_old = false;        // of fork: the old one ends, and takes nothing back
    std::string actor = "unknown";  // for the audit: "uid:1000"
    std::string reason = {};        // for the audit
};

/// Limit on an input that a person brings.
inline constexpr std::size_t operation_bytes_max = 256 * 1024;

/// The kinds, spelled as the commands and the audit have them.
std::string_view to_string(OperateRequest::Kind);
/// The inverse; nothing for a word that is not one.
std::optional<OperateRequest::Kind> parse_operation_kind(std::string_view);

/// What an operation has done.
struct Operated {
    std::vector<std::string> ids;        // it was done to; of fork: the new instance
    std::vector<std::string> requested;  // of pause: run now, and pause before they begin another
                                         // step
    std::vector<Resumed::Skipped> skipped;
};

/// Event ids are kept at least so long whatever a purge asks for: whoever sends events lists them,
/// and sends them again by hand, for 30 days (docs.stripe.com/api/events).
inline constexpr Ms events_kept_min = std::chrono::hours(24 * 30);

/// What retention may delete, in one transaction.
struct PurgeRequest {
    Ms older_than{0};        // instances that ended so long ago; inbox rows: the longer of this and
                             // events_kept_min since they arrived
    int limit = 500;         // instances, and as many inbox rows
    std::string actor = {};  // for the audit: "uid:1000"; "": retention itself, not audited
    std::string reason = {};  // for the audit: why, in the person's own words
};

/// How much was deleted.
struct Purged {
    int instances = 0;  // with their logs and payloads
    int events = 0;     // inbox rows whose instance is gone
};

/// Whom to forget: a customer's id, or what stands for a guest.
struct ForgetRequest {
    std::string subject;
    bool plan = false;              // only count
    std::string actor = "unknown";  // for the audit: "uid:1000"
    std::string reason = {};        // for the audit
};

/// What was forgotten, or with `plan` would be.
struct Forgotten {
    std::string name;     // the keyed hash that stands for the customer now
    bool done = false;    // something was forgotten just now
    bool before = false;  // …or by an earlier call
    int events = 0, instances = 0, once_keys = 0, payloads = 0;
    std::vector<std::string> unfinished =
        {};  // instances that must end first; then nothing is done
    std::vector<std::string> words =
        {};  // the ids that are gone: to look for them in the file's bytes
};

/// How many data keys to wrap anew, and who asks.
struct RotateRequest {
    int limit = 500;                // data keys of one transaction
    std::string actor = "unknown";  // for the audit: "uid:1000"
    std::string reason = {};        // for the audit
};

/// How far the rotation has come.
struct Rotated {
    int done = 0;           // data keys that were wrapped anew
    std::int64_t left = 0;  // that still are wrapped by an older master key
};

}  // namespace steplog
