// How a simulation ends: faults stop, time passes, people resume what is stuck, and then everything
// must have come to its end or wait for a listed reason, every effect once.
#include <fmt/ranges.h>

#include "engine/entries.h"
#include "engine/inspect.h"
#include "tests/model/acts.h"

namespace steplog::testing {
namespace {

constexpr int rounds_max = 40;
constexpr int pauses_max = 600;

}  // namespace

void Simulation::finish() {
    watch_.tell("all faults end");
    outside_.interlude = {};
    outside_.trouble = 0;
    deployed_ = {};
    if (purchase_) purchase_->mend_everything();
    vfs_.cut_after(0);
    vfs_.clear_faults();
    vfs_.set_capacity(0);
    restart_needed_ = true;
    after_act();
    // What people paused, they unpause.
    const auto breakers = watch_.truth().breakers();
    for (const auto& [provider, breaker] : breakers)
        if (watch_.clean() && breaker.is_held())
            life_->store()
                .change_provider({.kind = ProviderChange::Kind::unpause, .provider = provider})
                .get();
    unpause_all();
    // Whoever sends events sends them until they are acknowledged.
    for (std::size_t n = 0; watch_.clean() && purchase_ && n < purchase_->events(); ++n)
        deliver_purchase_event(n);
    for (int round = 0; watch_.clean() && round < rounds_max; ++round) {
        settle();
        if (!watch_.clean() || !resume_stuck()) break;
    }
    if (watch_.clean()) compare(true);
    if (watch_.clean()) check_end();
    if (watch_.clean()) check_promises();
}

// Until nothing is due any more.
void Simulation::settle() {
    for (int pauses = 0; watch_.clean(); ++pauses) {
        work(pauses_max);
        after_act();  // an errand may still kill its process
        if (!watch_.clean()) return;
        const auto due = life_->engine().next_due_ms();
        if (!due) return;
        if (*due > clock_.now_ms()) let_pass(Ms(*due - clock_.now_ms()));
        if (pauses == pauses_max) return watch_.find("endless", "work is due again and again");
    }
}

bool Simulation::resume_stuck() {
    std::vector<std::string> stuck;
    for (const auto& [seq, instance] : watch_.truth().instances()) {
        if (instance.state != State::stuck) continue;
        const auto errand = errand_of(instance);
        if (!errand || !errand->hopeless(instance.error_code)) stuck.push_back(instance.id);
    }
    for (const std::string& id : stuck) {
        if (watch_.truth().find(id)->error_code == "unknown_version")
            life_->engine().move({.ids = {id}, .to_version = 1, .actor = "somebody"});
        else
            resume(id);
    }
    return !stuck.empty();
}

void Simulation::check_end() {
    auto all = ended_;
    for (const auto& [seq, instance] : watch_.truth().instances())
        if (!is_forgotten_name(instance.id)) all[instance.id] = instance;
    bool purchase_completed = true, purchase_cancelled = false;
    for (const auto& [id, instance] : all) {
        const auto errand = errand_of(instance);
        played_.cancelled += instance.state == State::cancelled;
        if (errand)
            check_errand(*errand, instance);
        else {
            purchase_completed = purchase_completed && instance.state == State::completed;
            purchase_cancelled = purchase_cancelled || instance.state == State::cancelled;
        }
    }
    for (const auto& [seq, instance] : watch_.truth().instances())
        if (!is_finished(instance.state) && !may_stay(instance))
            watch_.find("unfinished", fmt::format("{} is {} {}", instance.id,
                                                  to_string(instance.state), instance.error_code));
    if (purchase_ && watch_.clean()) purchase_->check_result(purchase_completed);
    if (purchase_ && !purchase_completed && !purchase_cancelled && watch_.clean())
        watch_.find("unfinished", "a purchase");
    played_.instances = static_cast<int>(all.size());
    played_.effects = static_cast<int>(outside_.effects());
}

void Simulation::check_errand(const Errand& errand, const ReferenceInstance& instance) {
    if (instance.state != State::completed) return;
    const Json output = Json::parse(instance.output.value_or(""), nullptr, false);
    if (output.contains("left_out")) return;
    const Json expected = expected_results(errand, instance);
    const bool goes_on =
        !instance.log.empty() && parse_stored(instance.log.back().data).contains("continued_as");
    if (output != expected && !goes_on)
        watch_.find("output",
                    fmt::format("{} has {}, must be {}", errand.id,
                                output.dump(-1, ' ', false, Json::error_handler_t::replace),
                                expected.dump()));
    for (const Json& each : errand.plan.at("steps")) {
        const PlannedStep step = planned_step(each);
        const bool happens = step.kind != StepKind::idle && step.kind != StepKind::sleep &&
                             instance.finished(step.name) && !is_superseded(instance, step.name);
        if (happens && outside_.effects_of(step.entity) == 0)
            watch_.find("missing_effect", step.entity);
    }
}

// Whoever is not at its end is hopeless, or waits for somebody who is; never in a circle.
bool Simulation::may_stay(const ReferenceInstance& instance,
                          std::set<std::string> waiting_before) const {
    const auto errand = errand_of(instance);
    if (instance.state == State::stuck) return errand && errand->hopeless(instance.error_code);
    if (!waiting_before.insert(instance.id).second) return false;
    if (instance.state == State::waiting && instance.waits_for == WaitsFor::child) {
        const ReferenceInstance* child = watch_.truth().find_newest(instance.waits_detail);
        if (!child || is_finished(child->state)) return false;
        // Both were resumed, and the child came to queue for its parent's key: engine/README.md.
        const bool for_its_key = child->state == State::queued && instance.holds_key;
        return (for_its_key && child->key == instance.key) || may_stay(*child, waiting_before);
    }
    if (instance.state != State::queued) return false;
    bool held = false;
    for (const auto& [seq, other] : watch_.truth().instances()) {
        if (!other.holds_key || other.key != instance.key) continue;
        if (!may_stay(other, waiting_before)) return false;
        held = true;
    }
    return held;
}

// The engine's own check of its promises must agree. It takes long: now and then.
void Simulation::check_promises() {
    constexpr std::uint64_t every = 4;
    if (script_.seed % every != 0) return;
    Inspector inspector(stage_.database(), clock_, vfs_.name(), masters_);
    for (const Check& check : inspector.check().checks)
        if (check.broken > 0)
            watch_.find("promise",
                        fmt::format("{}: {}", check.name, fmt::join(check.examples, "; ")));
}

}  // namespace steplog::testing
