#include "tests/model/errand.h"

#include <algorithm>
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
            options.once_forgotten = Outside::answer_of(step);
            options.request = {{"about", step.entity}};
            break;
        case StepKind::most:
            options.repeat = Repeat::at_most_once;
            break;
        case StepKind::least:
            options.attempts_max = 6;
            break;
        case StepKind::state:
            if (step.version % 2) options.probe = look;
            break;
        case StepKind::idle:
        case StepKind::sleep:
            break;
    }
    return options;
}

Json do_step(Context& ctx, const PlannedStep& step, Outside& outside) {
    if (step.kind == StepKind::state)
        return ctx
            .update(
                step.name,
                {.entity = step.entity, .version = step.version, .step = options_of(step, outside)},
                [&](const Attempt& attempt) { return outside.call(attempt, step); })
            .value_or("superseded");
    return ctx.step(step.name, options_of(step, outside),
                    [&](const Attempt& attempt) { return outside.call(attempt, step); });
}

std::string child_before(const std::string& step) { return "child before " + step; }

void start_planned_child(Context& ctx, const std::string& name, const Json& child) {
    ChildOptions options;
    options.id = child.value("id", "");
    options.version = child.value("version", 1);
    options.key = child.value("key", "");
    if (child.value("releases_key", false)) options.on_stuck = OnStuck::release_key;
    options.delay = Ms(child.value("delay_ms", 0));
    options.on_close = static_cast<OnParentClose>(child.value("on_close", 0));
    ctx.start_child(name, child.at("workflow"), child.at("plan"), options);
}

// Whoever awaits a child must live with its failing: its log says for ever that it failed.
Json end_of_child(Context& ctx, const std::string& name) {
    try {
        return ctx.await_child(name);
    } catch (const ChildFailed&) {
        return "failed";
    }
}

// What comes before a step, where the plan says so: children, and a letter that may never come.
void come_to(Context& ctx, const Json& step, Json& results) {
    const std::string name = step.at("name");
    if (step.contains("starts")) start_planned_child(ctx, child_before(name), step.at("starts"));
    if (step.contains("awaits")) {
        const std::string child = child_before(step.at("awaits"));
        results[child] = end_of_child(ctx, child);
    }
    if (!step.contains("waits_ms")) return;
    const auto letter = ctx.wait_for<int>(
        wait_before(name),
        {.signal = "letter",
         .timeout = Ms(step.at("waits_ms")),
         .policy = step.value("first", false) ? SignalPolicy::first : SignalPolicy::queue});
    results[wait_before(name)] = letter ? Json(*letter) : Json("none");
}

// What a plan that serves many instances does is about the one that does it.
Json planned_for(const std::string& instance, Json plan) {
    for (Json& step : plan.at("steps"))
        if (step.at("entity") == "")
            step["entity"] = instance + "/" + step.at("name").get<std::string>();
    return plan;
}

// Of what another run does, and its children do: none that runs of its parents or of its children
// have.
std::string generation_suffix(const std::string& id) {
    constexpr std::string_view child = "/child ";
    int generation = 0;
    for (auto at = id.find(child); at != id.npos; at = id.find(child, at + 1)) ++generation;
    return fmt::format("+{}", generation);
}

Json run_errand(Context& ctx, const Json& input, Outside& outside, const Deployed& deployed) {
    const Json plan = planned_for(ctx.instance_id(), input);
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
        if (deployed.patch && each.value("patch", false))
            outside.patch_answered(ctx.instance_id(), step.name, ctx.patched("p " + step.name));
        if (plan.value("publishes", false)) ctx.publish("at", step.name);
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
    if (const int more = plan.value("continues", 0); more > 0) {
        Json next = for_another_run(input, generation_suffix(ctx.instance_id()));
        next["continues"] = more - 1;
        ctx.continue_as_new(next);
    }
    return {{"results", results}};
}

Json plan_steps(SeededRandom& dice, const std::string& id, const std::string& key, int depth);

// A child of its own, with a key that only children of its generation have: nobody waits for a key
// whose holder waits for him. Now and then one that several parents start, which does nothing that
// may happen only once because retention may take it in between; and one that would wait for its
// own parent's key.
Json plan_child(SeededRandom& dice, const std::string& id, const std::string& key, int depth) {
    const auto workflow = [&] {
        if (dice.below(30) == 0) return "nobody_knows_it";
        return dice.below(2) ? "errand" : "errand_for_people";
    };
    Json child = {{"workflow", workflow()}, {"on_close", dice.below(3)}};
    if (dice.below(8) == 0) {
        child["id"] = fmt::format("joint/{}", dice.below(2));
        child["workflow"] = "errand";
        child["plan"] = {
            {"steps",
             {{{"name", "s1"}, {"kind", "least"}, {"entity", child["id"]}},
              {{"name", "s2"}, {"kind", "sleep"}, {"entity", ""}, {"sleep_ms", 7000}}}}};
        return child;
    }
    if (dice.below(4) == 0) child["version"] = 2;
    if (dice.below(3) == 0) child["key"] = fmt::format("generation {}:{}", depth, dice.below(2));
    if (dice.below(40) == 0 && !key.empty()) child["key"] = key;
    if (dice.below(2)) child["releases_key"] = true;
    if (dice.below(8) == 0) child["delay_ms"] = dice.below(5'000'000);
    child["plan"] = {{"steps", plan_steps(dice, id, child.value("key", ""), depth + 1)},
                     {"compensates", dice.below(2) == 0}};
    if (child.value("version", 1) == 2 && child.at("workflow") == "errand")
        child["plan"]["continues"] = 1;
    return child;
}

Json plan_steps(SeededRandom& dice, const std::string& id, const std::string& key, int depth) {
    constexpr int depth_max = 2;
    std::string child;  // the step before which the last one was started
    Json steps = Json::array();
    const auto count = 1 + dice.below(4);
    for (std::uint64_t i = 0; i < count; ++i) {
        PlannedStep step{.name = fmt::format("s{}", i + 1),
                         .kind = static_cast<StepKind>(dice.below(9))};
        step.entity = id + "/" + step.name;
        if (step.kind == StepKind::once) step.entity = fmt::format("greeting/{}", dice.below(3));
        if (step.kind == StepKind::state) step.entity = fmt::format("state/{}", dice.below(2));
        Json json = {{"name", step.name}, {"kind", to_string(step.kind)}, {"entity", step.entity}};
        if (step.kind == StepKind::sleep)
            json["sleep_ms"] = dice.below(dice.below(2) ? 9000 : 200'000'000);
        if (step.kind == StepKind::state) json["version"] = 1 + dice.below(20);
        if (dice.below(12) == 0) json["refusals"] = 1 + dice.below(2);
        if (dice.below(25) == 0) json["deaths"] = 1 + dice.below(7);
        if (dice.below(12) == 0 && step.kind != StepKind::once) json["big"] = true;
        if (dice.below(6) == 0) json["waits_ms"] = 1 + dice.below(50'000'000);
        if (dice.below(4) == 0) json["first"] = true;
        if (depth < depth_max && dice.below(7) == 0) {
            child = step.name;
            json["starts"] = plan_child(dice, id + "/" + child_before(step.name), key, depth + 1);
        }
        if (!child.empty() && dice.below(2)) json["awaits"] = std::exchange(child, "");
        if (dice.below(4) == 0) json["patch"] = true;
        steps.push_back(std::move(json));
    }
    return steps;
}

// What it does is about whichever instance does it in the end.
void make_debounced(SeededRandom& dice, Errand& errand) {
    errand.delay = Ms(0);
    errand.key_conflict = KeyConflict::queue;
    errand.debounce = Debounce{.key = fmt::format("quiet:{}", dice.below(2)),
                               .period = Ms(1 + dice.below(5'000'000)),
                               .timeout = Ms(1 + dice.below(20'000'000))};
    errand.plan = {
        {"steps",
         {{{"name", "s1"}, {"kind", "look"}, {"entity", ""}},
          {{"name", fmt::format("s{}", 2 + dice.below(9))}, {"kind", "keyed"}, {"entity", ""}}}}};
}

}  // namespace

Json for_another_run(Json plan, const std::string& suffix) {
    for (Json& step : plan.at("steps")) {
        const bool shared = step.at("kind") == to_string(StepKind::once) || step.at("entity") == "";
        if (!shared) step["entity"] = step.at("entity").get<std::string>() + suffix;
        if (step.contains("starts") && !step.at("starts").contains("id"))
            step["starts"]["plan"] = for_another_run(step.at("starts").at("plan"), suffix);
    }
    return plan;
}

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
    errand.plan = {{"steps", plan_steps(dice, errand.id, errand.key, 0)}};
    if (dice.below(4) == 0) {
        errand.plan["takes_key"] = keys[dice.below(keys.size())];
        errand.plan["takes_key_before"] = dice.below(errand.plan.at("steps").size());
    }
    if (dice.below(2)) errand.plan["compensates"] = true;
    if (dice.below(5) == 0) errand.plan["careless"] = true;
    if (dice.below(12) == 0) errand.plan["throws"] = 1 + dice.below(2);
    if (dice.below(40) == 0) errand.plan["twice"] = true;
    if (dice.below(3) == 0) errand.plan["publishes"] = true;
    if (dice.below(8) == 0) errand.deadline = Ms(1 + static_cast<int>(dice.below(100'000'000)));
    if (dice.below(3) == 0) errand.priority = static_cast<int>(dice.below(3)) - 1;
    if (dice.below(5) == 0) errand.plan["continues"] = 1 + dice.below(2);
    if (errand.by_hand) errand.key_conflict = static_cast<KeyConflict>(dice.below(4));
    if (dice.below(8) == 0) make_debounced(dice, errand);
    errand.body = dice.below(40) == 0 ? "not {JSON" : errand.plan.dump();
    return errand;
}

std::vector<Schedule> make_schedules(SeededRandom& dice) {
    constexpr std::array<const char*, 3> names = {"often", "nightly", "weekdays"};
    constexpr std::array<const char*, 3> crons = {"0 */6 * * *", "30 2 * * *", "0 9 * * mon-fri"};
    constexpr std::array kinds = {StepKind::look, StepKind::keyed, StepKind::least, StepKind::idle};
    std::vector<Schedule> schedules;
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (dice.below(3) == 0) continue;
        Schedule schedule{.name = names.at(i), .workflow = "errand", .cron = crons.at(i)};
        if (dice.below(8) == 0) schedule.cron = "0 12 * * *";
        if (dice.below(2)) schedule.time_zone = "Europe/Berlin";
        schedule.overlap = static_cast<Overlap>(dice.below(4));
        if (dice.below(3) == 0) schedule.key = keys.at(dice.below(keys.size()));
        if (dice.below(2)) schedule.on_stuck = OnStuck::release_key;
        schedule.catch_up = std::chrono::hours(12 * dice.below(3));
        if (dice.below(2)) schedule.jitter = std::chrono::minutes(10);
        Json steps = Json::array();
        for (const char* name : {"s1", "s2"})
            steps.push_back({{"name", name},
                             {"kind", to_string(kinds.at(dice.below(kinds.size())))},
                             {"entity", ""}});
        schedule.input = {{"steps", std::move(steps)}};
        schedules.push_back(std::move(schedule));
    }
    return schedules;
}

std::optional<Errand> errand_of(const ReferenceInstance& instance) {
    if (!instance.workflow.starts_with("errand") && instance.workflow != "nobody_knows_it")
        return std::nullopt;
    Errand errand;
    errand.id = instance.id;
    errand.workflow = instance.workflow;
    errand.body = instance.input_in_force().value_or("");
    errand.plan = Json::parse(errand.body, nullptr, false);
    if (errand.plan.is_discarded()) errand.plan = {{"steps", Json::array()}};
    errand.plan = planned_for(errand.id, std::move(errand.plan));
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
            .delay = delay,
            .debounce = debounce,
            .deadline = deadline,
            .priority = priority,
            .key_conflict = by_hand ? key_conflict : KeyConflict::queue,
            .actor = by_hand ? "somebody" : ""};
}

std::optional<PlannedStep> Errand::step(const std::string& name) const {
    for (const Json& each : plan.at("steps"))
        if (each.at("name") == name) return planned_step(each);
    return std::nullopt;
}

bool Errand::hopeless(const std::string& code) const {
    if (workflow == "nobody_knows_it") return code == "unknown_workflow";
    if (body == "not {JSON") return code == "undecodable_input";
    // Its child waits for its own key; or several started it, and it was taken or forgotten with
    // another of them.
    if (code == "write_refused" || code == "result_forgotten")
        return std::any_of(plan.at("steps").begin(), plan.at("steps").end(),
                           [](const Json& step) { return step.contains("starts"); });
    return plan.value("twice", false) && code == "duplicate_step";
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

bool is_superseded(const ReferenceInstance& instance, const std::string& step) {
    return std::any_of(instance.log.begin(), instance.log.end(), [&](const ReferenceEntry& entry) {
        return entry.kind == EntryKind::completed && entry.step == step &&
               parse_stored(entry.data).contains("superseded");
    });
}

Json expected_results(const Errand& errand, const ReferenceInstance& instance) {
    Json results = Json::object();
    std::map<std::string, std::string> children;  // ids by name
    std::map<std::string, Json> ends;             // by id
    for (const ReferenceEntry& entry : instance.log) {
        const Json data = parse_stored(entry.data);
        if (entry.kind == EntryKind::child && data.contains("ended"))
            ends[data.at("child")] = entry.payload ? parse_stored(*entry.payload) : Json("failed");
        else if (entry.kind == EntryKind::child)
            children[entry.step] = data.at("child");
        if (entry.kind != EntryKind::signal || entry.step.empty()) continue;
        if (data.contains("timed_out")) results[entry.step] = "none";
        if (data.contains("took"))
            results[entry.step] =
                parse_stored(*instance.log.at(data.at("took").get<std::size_t>() - 1).payload);
    }
    for (const Json& each : errand.plan.at("steps")) {
        const PlannedStep step = planned_step(each);
        if (each.contains("awaits")) {
            const std::string child = child_before(each.at("awaits"));
            results[child] = ends.at(children.at(child));
        }
        if (step.kind == StepKind::sleep) continue;
        if (is_superseded(instance, step.name))
            results[step.name] = "superseded";
        else if (instance.finished(step.name))
            results[step.name] = Outside::answer_of(step);
        else if (errand.plan.value("compensates", false))
            results[step.name] = "compensated";
    }
    return {{"results", results}};
}

}  // namespace steplog::testing
