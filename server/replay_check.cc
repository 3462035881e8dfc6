// Checks what a deploy would break; see replay_check.h.
#include "server/replay_check.h"

#include <fmt/format.h>

#include "engine/check_replay.h"
#include "engine/inspect_json.h"
#include "engine/inspect_redact.h"
#include "server/workflows.h"

namespace steplog::server {
namespace {

/// What reconciliation reaches where it may do nothing.
class NoDesk final : public steps::InstanceDesk {
  public:
    std::vector<Known> of_key(const std::string&) override { return {}; }
    void start(NewInstance) override {}
    std::string resume(const std::string&, const std::string&) override { return ""; }
    void tell(const Found&) override {}
};

/// …and comparison.
class NoInbox final : public steps::Inbox {
  public:
    std::optional<std::int64_t> compare_from_ms(const std::string&) override { return {}; }
    bool has(const std::string&, const std::string&) override { return false; }
    bool take(steps::Intake) override { return false; }
    void tell(const Found&) override {}
};

bool concerns_the_database(const std::string& problem) {
    return problem.starts_with("STEPLOG_DATABASE") || problem.starts_with("STEPLOG_ENCRYPTION_KEY");
}

bool tell_problems(const SettingsRead& read) {
    bool any = false;
    for (const std::string& problem : read.problems) {
        if (!concerns_the_database(problem)) continue;
        fmt::print(stderr, "workflow-server: {}\n", problem);
        any = true;
    }
    return any;
}

std::string shown(const std::string& text) { return printable(redact_text(text), 2000); }

void print_finding(const ReplayFinding& finding) {
    fmt::print("{}  {} version {}, {}{}\n  {}{}: {}\n", shown(finding.instance),
               shown(finding.workflow), finding.version, to_string(finding.state),
               finding.already ? ", stuck with this already" : "", finding.code,
               finding.step.empty() ? "" : " at " + shown(finding.step), shown(finding.message));
}

void print_report(const ReplayReport& report) {
    for (const ReplayFinding& finding : report.findings) print_finding(finding);
    const auto broken = report.would_break();
    if (broken == 0)
        fmt::print("{} unfinished instances, and none would break\n", report.looked_at);
    else
        fmt::print("{} of {} unfinished instances would break\n", broken, report.looked_at);
}

}  // namespace

int check_replay(const SettingsRead& read, bool json) {
    if (tell_problems(read)) return exit_could_not_look;
    const Settings& settings = read.settings;
    try {
        const SystemClock clock;
        Outside outside(settings, clock);
        NoDesk desk;
        NoInbox inbox;
        Registry registry;
        register_workflows(registry, outside, {desk, inbox}, clock);
        Inspector inspector(settings.database, clock, "", settings.encryption_keys,
                            Schemas::older_too);
        const ReplayReport report = steplog::check_replay(inspector, registry);
        if (json)
            fmt::print("{}\n", dump(json_of(report)));
        else
            print_report(report);
        return report.would_break() > 0 ? exit_would_break : 0;
    } catch (const std::exception& error) {
        fmt::print(stderr, "workflow-server: {}\n", error.what());
        return exit_could_not_look;
    }
}

}  // namespace steplog::server
