#include "engine/check_replay.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "engine/inspect_redact.h"
#include "engine/worker.h"

namespace steplog {
namespace {

constexpr std::size_t names_shown_max = 10;

// The time at which an instance's function was called last: what depends on the time shall come out
// as it did then.
class StoppedClock : public Clock {
  public:
    std::int64_t now_ms() const override { return at_ms; }
    std::int64_t at_ms = 0;
};

// What people did since the last call of the function is not its doing.
bool by_a_person(EntryKind kind) {
    return kind == EntryKind::resumed || kind == EntryKind::moved || kind == EntryKind::stuck;
}

Claimed claimed_from(const InstanceDetail& detail) {
    const InstanceRow& row = detail.row;
    Claimed claimed{.seq = row.seq,
                    .id = row.id,
                    .workflow = row.workflow,
                    .version = row.version,
                    .key = row.key,
                    .created_at_ms = row.created_at_ms,
                    .deadline_ms = row.deadline_ms,
                    .priority = row.priority,
                    .input = detail.input.text,
                    .log = {},
                    .damage = detail.damage};
    bool encrypted = detail.input.encrypted, can_take_back = false;
    for (const LogEntry& entry : detail.log) {
        can_take_back = can_take_back || entry.entry.data.value("undo", Json()) == true;
        encrypted = encrypted || entry.payload.encrypted;
        claimed.log.push_back(entry.entry);
        claimed.log.back().payload = entry.payload.text;
    }
    if (encrypted)
        throw InspectError(InspectError::Kind::unreadable,
                           fmt::format("{} is encrypted with a key that is not given: set "
                                       "STEPLOG_ENCRYPTION_KEY as the server has it",
                                       printable(redact_text(row.id))));
    claimed.cancelling = can_take_back && row.cancel_requested_at_ms;
    while (!claimed.log.empty() && by_a_person(claimed.log.back().kind)) claimed.log.pop_back();
    return claimed;
}

std::string listed(std::vector<std::string> names) {
    const std::size_t more = names.size() - std::min(names.size(), names_shown_max);
    names.resize(names.size() - more);
    std::string text = fmt::format("{}", fmt::join(names, ", "));
    return more > 0 ? fmt::format("{} and {} more", text, more) : text;
}

class ReplayCheck {
  public:
    ReplayCheck(const Registry& registry, const StepDefaults& defaults)
        : surroundings_{.store = nullptr,
                        .registry = registry,
                        .clock = clock_,
                        .random = random_,
                        .defaults = defaults,
                        .draining = draining_.get_token()},
          worker_(surroundings_) {
        draining_.request_stop();
    }

    void look_at(const InstanceDetail& detail) {
        ++report.looked_at;
        Claimed claimed = claimed_from(detail);
        clock_.at_ms = claimed.log.empty() ? claimed.created_at_ms : claimed.log.back().at_ms;
        const Worker::Rehearsed rehearsed = worker_.rehearse(std::move(claimed));
        for (const auto& [name, code, what] : rehearsed.differences)
            add(detail.row, name, code, what);
        const bool ends_badly =
            rehearsed.to && !rehearsed.to->error_code.empty() && !is_finished(rehearsed.to->to);
        if (ends_badly)
            add(detail.row, rehearsed.at, rehearsed.to->error_code, rehearsed.to->error);
        else if (!rehearsed.not_asked_for.empty())
            add_not_asked_for(detail.row, rehearsed);
    }

    ReplayReport report;

  private:
    void add(const InstanceRow& row, const std::string& step, const std::string& code,
             const std::string& message) {
        report.findings.push_back({.instance = row.id,
                                   .workflow = row.workflow,
                                   .version = row.version,
                                   .state = row.state,
                                   .step = step,
                                   .code = code,
                                   .message = message,
                                   .already = row.error_code == code});
    }

    void add_not_asked_for(const InstanceRow& row, const Worker::Rehearsed& rehearsed) {
        const std::string names = listed(rehearsed.not_asked_for);
        const bool ends = rehearsed.to && is_finished(rehearsed.to->to);
        add(row, rehearsed.not_asked_for.front(), "not_asked_for",
            ends ? fmt::format("the code ends without asking for {}, which the log has: what was "
                               "done there is forgotten",
                               names)
                 : fmt::format(
                       "the code wants {}, which the log has not or not to its end, before "
                       "{}, which it has: where that was renamed, it is done again; where "
                       "something was put before it, ctx.patched keeps it from this instance",
                       rehearsed.at.empty() ? "something" : rehearsed.at, names));
    }

    StoppedClock clock_;
    SystemRandom random_;
    std::stop_source draining_;
    const Surroundings surroundings_;
    const Worker worker_;
};

Json json_of(const ReplayFinding& finding) {
    return {{"instance", redact_text(finding.instance)},
            {"workflow", finding.workflow},
            {"version", finding.version},
            {"state", to_string(finding.state)},
            {"step", finding.step.empty() ? Json(nullptr) : Json(redact_text(finding.step))},
            {"code", finding.code},
            {"message", redact_text(finding.message)},
            {"already", finding.already}};
}

}  // namespace

std::int64_t ReplayReport::would_break() const {
    std::set<std::string> instances;
    for (const ReplayFinding& finding : findings)
        if (!finding.already) instances.insert(finding.instance);
    return static_cast<std::int64_t>(instances.size());
}

ReplayReport check_replay(Inspector& inspector, const Registry& registry,
                          const StepDefaults& defaults) {
    ReplayCheck check(registry, defaults);
    inspector.each_unfinished([&](const InstanceDetail& detail) { check.look_at(detail); });
    return std::move(check.report);
}

Json json_of(const ReplayReport& report) {
    Json findings = Json::array();
    for (const ReplayFinding& finding : report.findings) findings.push_back(json_of(finding));
    return {{"looked_at", report.looked_at},
            {"would_break", report.would_break()},
            {"findings", std::move(findings)}};
}

}  // namespace steplog
