// What is known of the store under simulation: the reference, what else may be true after a crash,
// and what was found wrong. Shared by all lives of one simulation. One thread.
#pragma once

#include <fmt/format.h>

#include <string>
#include <vector>

#include "engine/clock.h"
#include "tests/model/reference.h"

namespace steplog::testing {

class Watch {
  public:
    explicit Watch(const Clock& clock) : clock_(clock) { possible_.emplace_back(); }

    /// What is acknowledged; with a commit under way when the machine died, the first of several
    /// possibilities: the one without it.
    Reference& truth() { return possible_.front(); }
    const Reference& truth() const { return possible_.front(); }
    std::vector<Reference>& possible() { return possible_; }
    /// A batch was handed in and never acknowledged: it happened wholly or not at all.
    void may_be(Reference other) { possible_.push_back(std::move(other)); }
    void settle_for(std::size_t which) {
        if (which > 0) possible_.front() = std::move(possible_[which]);
        possible_.erase(possible_.begin() + 1, possible_.end());
    }

    std::int64_t now_ms() const { return clock_.now_ms(); }

    void tell(std::string line) {
        if (telling) story_.push_back(shortened(std::move(line)));
    }
    /// A promise was broken. `kind` is short and stable: shrinking keeps to it.
    void find(const std::string& kind, const std::string& what) {
        if (kind_.empty()) kind_ = kind;
        if (findings_.size() < findings_max) findings_.push_back(kind + ": " + shortened(what));
        tell("!! " + kind + ": " + what);
    }
    bool clean() const { return findings_.empty(); }
    const std::string& kind() const { return kind_; }
    const std::vector<std::string>& findings() const { return findings_; }
    const std::vector<std::string>& story() const { return story_; }

    bool telling = false;  // keeps a line for everything that happens
    std::int64_t store_calls = 0;

  private:
    static constexpr std::size_t findings_max = 20;
    static std::string shortened(std::string line) {
        constexpr std::size_t length_max = 3000;
        if (line.size() > length_max) line.replace(length_max, std::string::npos, "…");
        return line;
    }

    const Clock& clock_;
    std::vector<Reference> possible_;  // never empty
    std::string kind_;
    std::vector<std::string> findings_;
    std::vector<std::string> story_;
};

}  // namespace steplog::testing
