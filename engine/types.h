// The engine's words: states, kinds of log entries, and the small values that travel between the
// store, the workflow and whoever looks. Included by everything; includes nothing of ours.
#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace steplog {

/// What payloads, inputs and results are, and how durations are counted.
using Json = nlohmann::json;
using Ms = std::chrono::milliseconds;

/// Where an instance stands. Spelled as stored.
enum class State {
    pending,
    queued,
    running,
    sleeping,
    waiting,
    stuck,
    completed,
    failed,
    cancelled
};

/// What a queued, sleeping or waiting instance waits for. Spelled as stored.
enum class WaitsFor { retry, circuit, timer, signal, child, key, once, pause };

/// What a row of the step log says. Spelled as stored.
enum class EntryKind {
    started,    // an attempt's intent: durable before its effect begins
    completed,  // the checkpoint: the step's result is stored and it never runs again
    retried,    // the attempt ended without a result and may be made again
    failed,     // refused for good
    resumed,    // a person asked for fresh attempts
    stuck,      // waits for a person, with a code
    key,        // the instance took another key
    timer,
    signal,
    child,
    published,
    undone,
    skipped,
    cancelled,
    moved,
    recorded
};

/// What is known of an effect whose attempt ended without a result.
enum class Outcome {
    refused,  // it certainly did not happen
    unknown   // it may have happened: section "in doubt" of engine/README.md
};

/// What an instance does with its key when it becomes stuck.
enum class OnStuck { keep_key, release_key };

/// What a start does where an instance of its id is there, unfinished or ended. Temporal calls the
/// first three use existing, fail and terminate existing.
enum class IdConflict {
    join,    // starts nothing: that one counts
    reject,  // starts nothing, and says so
    replace  // cancels that one, and starts another run of the id when it has ended
};

/// What a start does where an unfinished instance holds its key. With reject, join or replace a key
/// has one instance at a time, and no line (a singleton).
enum class KeyConflict {
    queue,   // waits behind it, in order of arrival
    reject,  // starts nothing, and says so
    join,    // starts nothing: that one counts
    replace  // cancels it, and those that wait for the key; begins when it has ended
};

/// What becomes of an unfinished child when its parent ends.
enum class OnParentClose {
    cancel,   // it is cancelled, as by a person
    abandon,  // it goes on by itself
    await     // its parent ends only after it
};

/// The words as they are stored.
std::string_view to_string(State);
std::string_view to_string(WaitsFor);
std::string_view to_string(EntryKind);
std::string_view to_string(Outcome);
std::string_view to_string(OnStuck);
std::string_view to_string(OnParentClose);
std::string_view to_string(IdConflict);
std::string_view to_string(KeyConflict);

/// The inverse of to_string; nothing for a word that is not one.
std::optional<State> parse_state(std::string_view);
std::optional<WaitsFor> parse_waits_for(std::string_view);
std::optional<EntryKind> parse_entry_kind(std::string_view);
std::optional<Outcome> parse_outcome(std::string_view);
std::optional<OnStuck> parse_on_stuck(std::string_view);
std::optional<IdConflict> parse_id_conflict(std::string_view);
std::optional<KeyConflict> parse_key_conflict(std::string_view);

/// Which schemas of a database a reader takes: what asks only for what the first one had may read
/// all that are not newer than the program.
enum class Schemas { present, older_too };

/// The code of an instance that was asked to end because its deadline has passed.
inline constexpr const char* deadline_code = "deadline_exceeded";

/// In place of a workflow's version: the highest that the program has registered.
inline constexpr int newest_version = 0;

/// True for the states that never change again.
inline bool is_finished(State state) {
    return state == State::completed || state == State::failed || state == State::cancelled;
}

/// A row of the step log, as read back.
struct Entry {
    std::int64_t n = 0;  // 1, 2, … within the instance
    std::string step;    // "" for what concerns the whole instance
    EntryKind kind = EntryKind::started;
    int attempt = 0;
    int generation = 0;
    std::int64_t at_ms = 0;
    Json data = {};  // codes, delays, keys: never personal data
    std::optional<std::string> payload =
        {};  // the result or request as JSON text; absent: none or forgotten
};

}  // namespace steplog
