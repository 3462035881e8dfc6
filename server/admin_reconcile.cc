// Reconciliation on demand; see admin_reconcile.h.
#include "server/admin_reconcile.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "engine/inspect_json.h"
#include "engine/inspect_redact.h"

namespace steplog::server {
namespace {

constexpr Ms first_pause{10}, longest_pause{200};

Answer of_finished(const std::string& id, const InstanceDetail& detail) {
    if (detail.row.state == State::completed && detail.output.text)
        return {200, *detail.output.text};
    const std::string why = detail.row.error.empty() ? std::string(to_string(detail.row.state))
                                                     : redact_text(detail.row.error);
    return {502,
            dump({{"error", fmt::format("the reconciliation did not come to its end: {}", why)},
                  {"instance", id}})};
}

}  // namespace

std::vector<steps::InstanceDesk::Known> EngineDesk::of_key(const std::string& key) {
    std::vector<Known> known;
    for (const InstanceRow& row : Inspector(database_, clock_).list({.key = key}))
        known.push_back({row.id, row.workflow, row.state, row.error_code});
    std::reverse(known.begin(), known.end());
    return known;
}

void EngineDesk::start(NewInstance instance) { engine_->accept(std::nullopt, std::move(instance)); }

std::string EngineDesk::resume(const std::string& id, const std::string& by) {
    // Named by its id, a step in doubt would be repeated: that is for a person to decide.
    const InstanceRow row = Inspector(database_, clock_).find(id);
    if (row.error_code == "in_doubt") return "in_doubt";
    const Resumed resumed = engine_->resume({.ids = {id}, .actor = by});
    return resumed.skipped.empty() ? "" : resumed.skipped.front().reason;
}

void EngineDesk::tell(const Found& found) {
    if (told_) told_(found);
}

Reconciliation::Reconciliation(Engine& engine, EngineDesk& desk, const Clock& clock, Random& random,
                               Options options)
    : engine_(engine), desk_(desk), clock_(clock), random_(random), options_(std::move(options)) {}

Answer Reconciliation::run(const steps::ReconcileOrder& order) { return wait_for(begin(order)); }

std::string Reconciliation::begin(const steps::ReconcileOrder& wanted) {
    const auto number =
        fmt::format("{}-{:08x}", clock_.now_ms(), static_cast<std::uint32_t>(random_.next()));
    NewInstance order = steps::reconcile_order(wanted, number);
    const std::lock_guard alone(beginning_);
    for (const auto& known : desk_.of_key(order.key)) {
        if (is_finished(known.state)) continue;
        if (known.state == State::stuck) desk_.resume(known.id, admin_actor);
        return known.id;
    }
    std::string id = order.id;
    desk_.start(std::move(order));
    return id;
}

Answer Reconciliation::wait_for(const std::string& id) {
    Inspector inspector(options_.file.database, clock_, {}, options_.file.keys);
    const auto end = std::chrono::steady_clock::now() + options_.patience;
    for (Ms pause = first_pause;; pause = std::min(pause * 2, longest_pause)) {
        const InstanceRow row = inspector.find(id);
        const bool over = is_finished(row.state) || row.state == State::stuck;
        if (over) return of_finished(id, inspector.show(id));
        if (std::chrono::steady_clock::now() + pause > end || engine_.stopping()) break;
        if (options_.pause)
            options_.pause(pause);
        else
            std::this_thread::sleep_for(pause);
    }
    return {202, dump({{"instance", id}})};
}

}  // namespace steplog::server
