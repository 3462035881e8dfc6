// What a page that is looked at all day asks: the figures of the last hours, and the list of
// instances a page at a time. Every question reads by an index or looks at a bounded number of
// rows, so that it costs the same beside a million finished instances. Used by the server's
// dashboard; one thread at a time. Read-only, as the Inspector; what comes back is as stored:
// redact it before showing it. Every function throws InspectError.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/inspect.h"

namespace steplog {

/// What ended lately, in numbers.
struct RecentPast {
    /// How the instances of one workflow ended. Times are from acceptance to the end, of those that
    /// completed; absent where none did.
    struct Figures {
        std::string workflow;
        std::int64_t completed = 0, failed = 0, cancelled = 0;
        std::optional<Ms> took_p50, took_p95;
    };
    struct Hour {
        std::int64_t begins_at_ms = 0;
        std::int64_t finished = 0;  // at most DashboardReader::hour_max are counted
    };
    std::int64_t since_ms = 0;
    Figures all;                       // of every workflow
    std::vector<Figures> by_workflow;  // the busiest first
    std::int64_t looked_at = 0;        // instances behind these figures: the newest that ended
    bool whole = true;                 // false: more than those have ended in this time
    std::vector<Hour> hours;           // oldest first; whole hours of UTC, the last one under way
};

/// Instances that did not get as far as a certain step.
struct Unreached {
    std::int64_t stuck = 0;   // now
    std::int64_t failed = 0;  // for good, in the recent past
};

/// Which instances a page of the list shows: those that match all that is set.
struct BrowseFilter {
    std::optional<State> state = {};
    bool unfinished = false;
    std::string workflow = {}, key = {}, step = {}, error_code = {};
    std::optional<Ms> older_than = {};  // not updated for so long
    /// What an id begins with, as a whole or behind its first slash; a key; a customer, by the
    /// events that name them; a part of one of the newest ids.
    std::string text = {};
    std::optional<std::int64_t> before = {};  // InstanceRow::seq: only older ones
    int limit = 50;
};

/// A page of the list, newest first.
struct BrowsePage {
    std::vector<InstanceRow> rows;
    /// Where the next page begins; absent at the end. A page may be short, or empty, and yet have a
    /// next one: then as much was looked at as one question may.
    std::optional<std::int64_t> next;
    bool cut = false;  // by text: more match than are shown
};

/// Looks at one database.
class DashboardReader {
  public:
    static constexpr std::int64_t sample_max = 10'000;  // ended instances behind the figures
    static constexpr std::int64_t hour_max = 1'000'000;
    static constexpr std::int64_t rows_max = 20'000;  // looked at for one page, by one index
    static constexpr int hours = 24;

    DashboardReader(std::filesystem::path database, const Clock& clock);
    ~DashboardReader();

    RecentPast recent_past();

    /// Of `workflow`, without `step` finished; stuck ones with one of these codes do not count.
    Unreached unreached(const std::string& workflow, const std::string& step,
                        const std::vector<std::string>& but_codes);

    /// How many have ended and are still kept, by state.
    std::map<State, std::int64_t> ended();

    /// Since when the longest stuck one is.
    std::optional<std::int64_t> stuck_since_ms();

    std::vector<PausedWorkflow> paused_workflows();

    /// What the ids of instances begin with, up to the first slash: workflows, as a rule.
    std::vector<std::string> heads();

    BrowsePage browse(const BrowseFilter& filter);

  private:
    BrowsePage browse_by_text(const BrowseFilter& filter);

    std::unique_ptr<ReadOnlyDatabase> file_;
    const Clock& clock_;
    std::map<std::int64_t, std::int64_t> ended_hours_;  // finished, by hour; they change no more
};

}  // namespace steplog
