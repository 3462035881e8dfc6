#include "tests/model/errand.h"

#include <array>

#include "engine/entries.h"

namespace steplog::testing {
namespace {

constexpr std::array<const char*, 3> keys = {"customer:1", "customer:2", "customer:3"};

std::string wait_before(const std::string& step) { return "letter before " + step; }

StepOptions options_of(const PlannedStep& step, Outside& outside) {
    using std::chrono::hours;
    StepOptions options{.provider = "shop"};
    const auto look = [&outside, step](const Attempt& attempt) {
        return outside.look_up(attempt, step);
    };
    switch (step.kind) {
        case StepKind::look:
            options.probe = look;
            break;
        case StepKind::keyed:
            options.repeat = Repeat::at_most_once;
            options.idempotency_window = hours(23);
            options.request = {{"about", step.entity}};
            break;
        case StepKind::remembered:
            options.idempotency_window = hours(23);
            options.probe = look;
            break;
        case StepKind::once:
            options.repeat = Repeat::at_most_once;
            options.idempotency_window = hours(23);
            options.once = step.entity;
            options.request = {{"about", step.entity}};
            break;
        case StepKind::most:
            options.repeat = Repeat::at_most_once;
            break;
        case StepKind::least:
            options.attempts_max = 6;
            break;
        case StepKind::idle:
        case StepKind::sleep:
            break;
    }
    return options;
}

Json do_step(Context& ctx, const PlannedStep& step, Outside& outside) {
    return ctx.step(step.name, options_of(step, outside),
                    [&](const Attempt& attempt) { return outside.call(attempt, step); });
}

// What comes before a step, where the plan says so: a letter that may never come.
void come_to(Context& ctx, const Json& step, Json& results) {
    const std::string name = step.at("name");
    if (!step.contains("waits_ms")) return;
    const auto letter = ctx.wait_for<int>(
        wait_before(name),
        {.signal = "letter",
         .timeout = Ms(step.at("waits_ms")),
         .policy = step.value("first", false) ? SignalPolicy::first : SignalPolicy::queue});
    results[wait_before(name)] = letter ? Json(*letter) : Json("none");
}

Json run_errand(Context& ctx, const Json& plan, Outside& outside, const Deployed& deployed) {
    const int calls = outside.function_called(ctx.instance_id());
    Json results = Json::object();
    const std::string key = plan.value("takes_key", "");
    const bool careless = plan.value("careless", false), twice = plan.value("twice", false);
    int at = 0;
    for (const Json& each : plan.at("steps")) {
        PlannedStep step = planned_step(each);
        if (at == plan.value("takes_key_before", 0) && !key.empty()) ctx.take_key(key);
        if (at++ >= plan.value("takes_key_before", 0)) step.key = key;
        if (step.kind == StepKind::once && !deployed.once_steps) return {{"left_out", true}};
        come_to(ctx, each, results);
        if (step.kind == StepKind::sleep) {
            outside.about_to_sleep(ctx.instance_id(), step);
            ctx.sleep_for(step.name, Ms(step.sleep_ms));
            continue;
        }
        try {
            results[step.name] = do_step(ctx, step, outside);
            if (twice) do_step(ctx, step, outside);
        } catch (const StepFailed&) {
            if (!plan.value("compensates", false)) throw;
            results[step.name] = "compensated";
        } catch (...) {
            if (!careless) throw;
        }
    }
    if (calls <= plan.value("throws", 0)) throw std::runtime_error("the function itself throws");
    return {{"results", results}};
}

Json plan_steps(SeededRandom& dice, const std::string& id) {
    Json steps = Json::array();
    const auto count = 1 + dice.below(4);
    for (std::uint64_t i = 0; i < count; ++i) {
        PlannedStep step{.name = fmt::format("s{}", i + 1),
                         .kind = static_cast<StepKind>(dice.below(8))};
        step.entity = step.kind == StepKind::once ? fmt::format("greeting/{}", dice.below(3))
                                                  : id + "/" + step.name;
        Json json = {{"name", step.name}, {"kind", to_string(step.kind)}, {"entity", step.entity}};
        if (step.kind == StepKind::sleep)
            json["sleep_ms"] = dice.below(dice.below(2) ? 9000 : 200'000'000);
        if (dice.below(12) == 0) json["refusals"] = 1 + dice.below(2);
        if (dice.below(25) == 0) json["deaths"] = 1 + dice.below(7);
        if (dice.below(12) == 0 && step.kind != StepKind::once) json["big"] = true;
        if (dice.below(6) == 0) json["waits_ms"] = 1 + dice.below(50'000'000);
        if (dice.below(4) == 0) json["first"] = true;
        steps.push_back(std::move(json));
    }
    return steps;
}

}  // namespace

Errand make_errand(std::uint64_t seed, int number) {
    SeededRandom dice(seed * 1000 + static_cast<std::uint64_t>(number));
    Errand errand;
    errand.event = fmt::format("evt_{}", number);
    errand.workflow = dice.below(2) ? "errand" : "errand_for_people";
    if (dice.below(40) == 0) errand.workflow = "nobody_knows_it";
    errand.id = errand.workflow + "/" + errand.event;
    errand.version = dice.below(4) == 0 ? 2 : 1;
    if (dice.below(3) > 0) errand.key = keys[dice.below(keys.size())];
    errand.on_stuck = dice.below(2) ? OnStuck::release_key : OnStuck::keep_key;
    if (dice.below(10) == 0) errand.delay = Ms(1 + static_cast<int>(dice.below(5'000'000)));
    errand.by_hand = dice.below(8) == 0;
    errand.plan = {{"steps", plan_steps(dice, errand.id)}};
    if (dice.below(4) == 0) {
        errand.plan["takes_key"] = keys[dice.below(keys.size())];
        errand.plan["takes_key_before"] = dice.below(errand.plan.at("steps").size());
    }
    if (dice.below(2)) errand.plan["compensates"] = true;
    if (dice.below(5) == 0) errand.plan["careless"] = true;
    if (dice.below(12) == 0) errand.plan["throws"] = 1 + dice.below(2);
    if (dice.below(40) == 0) errand.plan["twice"] = true;
    errand.body = dice.below(40) == 0 ? "not {JSON" : errand.plan.dump();
    return errand;
}

NewEvent Errand::new_event() const {
    return {.source = "shop",
            .id = event,
            .type = "errand.wanted",
            .subject = key,
            .reason = "",
            .body = body};
}

NewInstance Errand::new_instance() const {
    return {.id = id,
            .workflow = workflow,
            .version = version,
            .key = key,
            .on_stuck = on_stuck,
            .input = by_hand ? std::optional(body) : std::nullopt,
            .delay = delay};
}

std::optional<PlannedStep> Errand::step(const std::string& name) const {
    for (const Json& each : plan.at("steps"))
        if (each.at("name") == name) return planned_step(each);
    return std::nullopt;
}

std::string Errand::hopeless() const {
    if (workflow == "nobody_knows_it") return "unknown_workflow";
    if (body == "not {JSON") return "undecodable_input";
    if (plan.value("twice", false)) return "duplicate_step";
    return "";
}

void register_errands(Registry& registry, Outside& outside, const Deployed& deployed) {
    const auto run = [&outside, deployed](Context& ctx, const Json& plan) {
        return run_errand(ctx, plan, outside, deployed);
    };
    for (int version = 1; version <= (deployed.second_version ? 2 : 1); ++version) {
        registry.add({.name = "errand", .version = version, .run = run});
        registry.add({.name = "errand_for_people",
                      .version = version,
                      .on_failure = OnFailure::stuck,
                      .run = run});
    }
}

Json expected_results(const Errand& errand, const ReferenceInstance& instance) {
    Json results = Json::object();
    for (const ReferenceEntry& entry : instance.log) {
        const Json data = parse_stored(entry.data);
        if (entry.kind != EntryKind::signal || entry.step.empty()) continue;
        if (data.contains("timed_out")) results[entry.step] = "none";
        if (data.contains("took"))
            results[entry.step] =
                parse_stored(*instance.log.at(data.at("took").get<std::size_t>() - 1).payload);
    }
    for (const Json& each : errand.plan.at("steps")) {
        const PlannedStep step = planned_step(each);
        if (step.kind == StepKind::sleep) continue;
        if (instance.finished(step.name))
            results[step.name] = Outside::answer_of(step);
        else if (errand.plan.value("compensates", false))
            results[step.name] = "compensated";
    }
    return {{"results", results}};
}

}  // namespace steplog::testing
