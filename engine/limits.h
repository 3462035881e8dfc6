// How large and how long things may be: the defaults, and what an engine is given in their place
// (EngineOptions::limits). Values; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace steplog {

/// What an instance may bring and become. Sizes are those of the JSON text. What goes beyond is
/// refused where it enters: a start throws StoreError (constraint), an instance gets stuck,
/// limit_exceeded; both say which limit it is and what to do. At four fifths of one a transition
/// near_limit is told, and `workflow-inspect show` and `why` say so, by the defaults.
struct Limits {
    /// Of an instance, a child, a schedule, or the next run. An event's body, where that is the
    /// input, is bounded by whoever takes events in.
    std::size_t input_bytes_max = 4 * 1024 * 1024;
    /// Of a step, a change of the program's tables, or the whole instance.
    std::size_t result_bytes_max = 4 * 1024 * 1024;
    /// The store refuses larger ones whatever is set here.
    std::size_t signal_bytes_max = 256 * 1024;
    std::size_t published_bytes_max = 64 * 1024;
    /// Entries of one run's log: a step has two, and each further attempt two more. Nothing new
    /// is begun beyond; what has begun is finished.
    std::int64_t log_entries_max = 50'000;
    /// Steps, sleeps, waits, children and recorded values that one run asks for.
    std::int64_t steps_max = 10'000;
};

/// Whether `value` is at or beyond four fifths of `limit`.
inline bool is_near(std::int64_t value, std::int64_t limit) { return value >= limit - limit / 5; }

/// "the result of render has 5,000,000 bytes, and 4,194,304 are the limit (result_bytes_max): …"
std::string beyond_limit(const std::string& what, std::int64_t value, const char* unit,
                         std::int64_t limit, const char* name, const char* remedy);
/// "its log has 41,000 entries, of at most 50,000 (log_entries_max): …"
std::string near_limit(const std::string& what, std::int64_t value, const char* unit,
                       std::int64_t limit, const char* name, const char* remedy);

/// What helps where something is large.
inline constexpr const char* large_remedy = "keep it elsewhere, and pass a reference";
/// The same for what is long.
inline constexpr const char* long_remedy =
    "let it continue as new (Context::continue_as_new), or give parts of it to children";

}  // namespace steplog
