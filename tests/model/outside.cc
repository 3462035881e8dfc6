#include "tests/model/outside.h"

#include <algorithm>
#include <array>

namespace steplog::testing {
namespace {

constexpr std::array kinds = {StepKind::look, StepKind::keyed, StepKind::remembered,
                              StepKind::once, StepKind::most,  StepKind::least,
                              StepKind::idle, StepKind::sleep, StepKind::state};
constexpr std::int64_t memory_ms = 24 * 3600 * 1000;     // how long the provider keeps keys
constexpr std::int64_t window_reserve_ms = 3600 * 1000;  // steps trust keys for 23 hours
constexpr int deaths_max = 5;                            // in a row, before a person must look

bool is_keyed(StepKind kind) {
    return kind == StepKind::keyed || kind == StepKind::remembered || kind == StepKind::once;
}

RetryableError lost(const char* code) {
    return RetryableError("no answer", {.code = code, .outcome = Outcome::unknown});
}

}  // namespace

std::string_view to_string(StepKind kind) {
    static constexpr std::array words = {"look",  "keyed", "remembered", "once", "most",
                                         "least", "idle",  "sleep",      "state"};
    return words.at(static_cast<std::size_t>(kind));
}

PlannedStep planned_step(const Json& json) {
    PlannedStep step;
    step.name = json.at("name").get<std::string>();
    step.entity = json.at("entity").get<std::string>();
    step.refusals = json.value("refusals", 0);
    step.deaths = json.value("deaths", 0);
    step.big = json.value("big", false);
    step.sleep_ms = json.value("sleep_ms", std::int64_t{0});
    step.version = json.value("version", std::int64_t{0});
    const auto kind = json.at("kind").get<std::string>();
    for (const StepKind known : kinds)
        if (to_string(known) == kind) step.kind = known;
    return step;
}

Json Outside::answer_of(const PlannedStep& step) {
    Json answer = {{"done", step.entity}};
    if (step.big) answer["padding"] = std::string(9000, 'x');
    return answer;
}

int Outside::effects_of(const std::string& entity) const {
    const auto found = effects_.find(entity);
    return found == effects_.end() ? 0 : found->second;
}

// FNV-1a over what is called: taking an operation out of a story leaves the others' luck alone.
SeededRandom Outside::dice_for(const std::string& what, int number) const {
    std::uint64_t hash = 0xcbf29ce484222325u ^ seed_;
    for (const char letter : what)
        hash = (hash ^ static_cast<unsigned char>(letter)) * 0x100000001b3u;
    return SeededRandom(hash + static_cast<std::uint64_t>(number));
}

void Outside::decided(const std::string& instance, const PlannedStep* step, bool by_id) {
    std::erase_if(deaths_, [&](const auto& each) { return each.first.first == instance; });
    not_before_.erase(instance);
    if (step && by_id) ++decisions_[step->entity];
}

void Outside::about_to_sleep(const std::string& instance, const PlannedStep& step) {
    const ReferenceInstance* there = watch_.truth().find(instance);
    if (!there) return;
    for (const ReferenceEntry& entry : there->log)
        if (entry.kind == EntryKind::timer && entry.step == step.name) return;
    not_before_[instance] = {clock_.now_ms() + step.sleep_ms, step.name, EntryKind::timer, 0};
}

void Outside::patch_answered(const std::string& instance, const std::string& step, bool in_force) {
    const ReferenceInstance* there = watch_.truth().find(instance);
    const bool recorded =
        there && std::any_of(there->log.begin(), there->log.end(), [&](const auto& entry) {
            return entry.kind == EntryKind::recorded && entry.step == "p " + step;
        });
    if (recorded && !in_force) watch_.find("patch", instance + " forgot the patch before " + step);
    if (in_force && past_the_patch_.contains({instance, step}))
        watch_.find("patch", instance + " had gone past the patch before " + step);
    if (!in_force) past_the_patch_.insert({instance, step});
}

void Outside::forget_times_reached() {
    const std::int64_t now_ms = clock_.now_ms();
    std::erase_if(not_before_, [&](const auto& each) { return each.second.wall_ms <= now_ms; });
}

Json Outside::call(const Attempt& attempt, const PlannedStep& step) {
    check(attempt, step, false);
    ++calls_;
    const std::string& who = attempt.instance_id;
    if (!vfs_.outside_operation("request " + step.name))
        throw RetryableError("the power is gone", {.outcome = Outcome::refused});
    const int number = ++called_[{who, step.name}];
    SeededRandom dice = dice_for(who + "/" + step.name, number);
    watch_.tell(fmt::format("    {} calls {} ({})", who, step.name, to_string(step.kind)));
    if (number <= step.deaths) {
        ++deaths_[{who, step.name}];
        vfs_.cut_after(1);
        vfs_.outside_operation("the process died in " + step.name);
        throw lost("died");
    }
    if (number <= step.refusals && !remembers(attempt, step))
        throw PermanentError("no_means_no", "the provider says no");
    if (dice.below(1000) < trouble)
        misbehave(attempt, step, dice);
    else if (!replayed(attempt, step))
        happen(step, attempt);
    if (interlude) std::exchange(interlude, {})();
    if (dice.below(1000) < trouble / 2) throw lost("timeout");
    if (dice.below(1000) < trouble / 8) throw std::runtime_error("nobody foresaw this");
    if (!vfs_.outside_operation("answer to " + step.name)) throw lost("reset");
    return answer_of(step);
}

std::optional<Json> Outside::look_up(const Attempt& attempt, const PlannedStep& step) {
    check(attempt, step, true);
    const std::string what = attempt.instance_id + "?" + step.name;
    SeededRandom dice = dice_for(what, ++called_[{attempt.instance_id, "?" + step.name}]);
    if (!vfs_.outside_operation("look up " + step.entity) || dice.below(1000) < trouble) {
        deaths_.erase({attempt.instance_id, step.name});  // an entry in between: not in a row
        throw lost("timeout");
    }
    const bool found = step.kind == StepKind::state
                           ? effects_of(step.entity) > 0 && versions_[step.entity] == step.version
                           : effects_of(step.entity) > 0;
    watch_.tell(fmt::format("    {} looks for {}: {}", attempt.instance_id, step.entity,
                            found ? "found" : "nothing"));
    return found ? std::optional(answer_of(step)) : std::nullopt;
}

void Outside::misbehave(const Attempt& attempt, const PlannedStep& step, SeededRandom& dice) {
    const bool error_stays = step.kind == StepKind::remembered;
    switch (dice.below(error_stays ? 6 : 5)) {
        case 0:
        case 1:
            refuse(attempt, step, dice);
        case 2:  // nothing happened, and nobody says so
            throw lost("reset");
        case 3:  // it happened, and nobody says so
            if (!replayed(attempt, step)) happen(step, attempt);
            if (interlude) std::exchange(interlude, {})();
            throw lost("cut_reply");
        case 4:
            throw std::runtime_error("nobody foresaw this");
        default:
            // Stored by the first request under the key, whatever comes later.
            if (memory_.contains(attempt.idempotency_key)) {
                replayed(attempt, step);
                return;
            }
            memory_[attempt.idempotency_key] = {clock_.truth.now_ms(), clock_.offset_ms, true};
            throw RetryableError(
                "a stored error",
                {.code = "http_500", .outcome = Outcome::unknown, .remembered = true});
    }
}

void Outside::refuse(const Attempt& attempt, const PlannedStep& step, SeededRandom& dice) {
    RetryableError::Details details{.code = "rate_limited", .outcome = Outcome::refused};
    if (dice.below(2)) {
        details.retry_after = Ms(1000 + static_cast<int>(dice.below(600'000)));
        not_before_[attempt.instance_id] = {clock_.now_ms() + details.retry_after->count(),
                                            step.name, EntryKind::retried, attempt.number};
        watch_.tell(fmt::format("    refused for {} ms", details.retry_after->count()));
    }
    using Trouble = RetryableError::Trouble;
    details.trouble = dice.below(4) > 0 ? Trouble::request : Trouble::our_key;
    throw RetryableError("not now", std::move(details));
}

bool Outside::remembers(const Attempt& attempt, const PlannedStep& step) const {
    const auto found = memory_.find(attempt.idempotency_key);
    return is_keyed(step.kind) && found != memory_.end() && found->second.since_ms != 0 &&
           clock_.truth.now_ms() - found->second.since_ms < memory_ms;
}

// A provider that honours keys answers as before, for as long as it remembers.
bool Outside::replayed(const Attempt& attempt, const PlannedStep& step) {
    if (!is_keyed(step.kind)) return false;
    const bool known = remembers(attempt, step);
    Memory& memory = memory_[attempt.idempotency_key];
    const std::int64_t now_ms = clock_.truth.now_ms();
    // A limit of the engine: a clock set back by more than it keeps in hand makes keys look young.
    const bool misled = !known && memory.since_ms != 0 &&
                        clock_.offset_ms < memory.offset_ms - window_reserve_ms &&
                        clock_.now_ms() >= first_intent_ms(attempt, step);
    if (misled) ++decisions_[step.entity];
    if (!known) memory = {now_ms, clock_.offset_ms, false};
    if (known && memory.is_error)
        throw RetryableError("the stored error again",
                             {.code = "http_500", .outcome = Outcome::unknown, .remembered = true});
    return known;
}

std::int64_t Outside::first_intent_ms(const Attempt& attempt, const PlannedStep& step) const {
    const auto& once_keys = watch_.truth().once_keys();
    if (const auto once = once_keys.find(step.entity); once != once_keys.end())
        return once->second.first_attempt_at_ms;
    if (const ReferenceInstance* instance = watch_.truth().find(attempt.instance_id))
        for (const ReferenceEntry& entry : instance->log)
            if (entry.step == step.name && entry.kind == EntryKind::started &&
                entry.generation == attempt.generation)
                return entry.at_ms;
    return 0;
}

void Outside::happen(const PlannedStep& step, const Attempt& attempt) {
    if (step.kind == StepKind::idle) return;
    const int times = ++effects_[step.entity];
    watch_.tell(fmt::format("    {} happens", step.entity));
    if (step.kind == StepKind::state) {
        std::int64_t& version = versions_[step.entity];
        if (step.version < version)
            watch_.find("went_back", fmt::format("{} from version {} to {}, by {}", step.entity,
                                                 version, step.version, attempt.instance_id));
        version = step.version;
    }
    const bool may_repeat = step.kind == StepKind::least || step.kind == StepKind::state;
    if (!may_repeat && times > 1 + decisions_[step.entity])
        watch_.find("repeated_effect", fmt::format("{} happened {} times, last by {}", step.entity,
                                                   times, attempt.instance_id));
}

// What must be durable before anything is asked outside.
void Outside::check(const Attempt& attempt, const PlannedStep& step, bool is_probe) {
    const std::string& who = attempt.instance_id;
    const ReferenceInstance* instance = watch_.truth().find(who);
    if (!instance) {
        watch_.find("call_without_instance", who + " " + step.name);
        return;
    }
    if (instance->finished(step.name)) watch_.find("repeated_step", who + " " + step.name);
    if (instance->state != State::running)
        watch_.find("call_without_claim", fmt::format("{} is {}", who, to_string(instance->state)));
    if (instance->cancel_requested_at_ms && !is_probe)
        watch_.find("call_after_cancel", who + " was asked to end before " + step.name);
    if (!instance->key.empty() && !instance->holds_key)
        watch_.find("call_without_key", who + " does not hold " + instance->key);
    if (!step.key.empty() && instance->key != step.key)
        watch_.find("call_without_key", who + " has not taken " + step.key);
    const ReferenceEntry* intent = nullptr;
    for (const ReferenceEntry& entry : instance->log)
        if (entry.step == step.name && entry.kind == EntryKind::started) intent = &entry;
    const bool inherits = is_probe && !intent && step.kind == StepKind::once;
    if (inherits) return;
    const int expected = is_probe ? attempt.number - 1 : attempt.number;
    if (!intent || intent->attempt != expected) {
        watch_.find("call_without_intent",
                    fmt::format("{} {} attempt {}", who, step.name, attempt.number));
        return;
    }
    if (!is_probe) check_key(attempt, step, *intent);
    if (const int deaths = deaths_[{who, step.name}]; deaths >= deaths_max)
        watch_.find("poison", fmt::format("{} killed {} processes", who, deaths));
    check_time(*instance);
}

void Outside::check_time(const ReferenceInstance& instance) {
    const auto earliest = not_before_.find(instance.id);
    if (earliest == not_before_.end()) return;
    const Earliest first = std::move(earliest->second);
    not_before_.erase(earliest);
    const bool known =
        first.step.empty() ||
        std::any_of(instance.log.begin(), instance.log.end(), [&](const ReferenceEntry& entry) {
            return entry.kind == first.kind && entry.step == first.step &&
                   entry.attempt == first.attempt;
        });
    if (known && clock_.now_ms() < first.wall_ms)
        watch_.find("too_early", fmt::format("{} {} ms before its time", instance.id,
                                             first.wall_ms - clock_.now_ms()));
}

void Outside::check_key(const Attempt& attempt, const PlannedStep& step,
                        const ReferenceEntry& intent) {
    const Json data = Json::parse(intent.data, nullptr, false);
    if (data.value("idempotency_key", "") != attempt.idempotency_key)
        watch_.find("another_key",
                    fmt::format("{} sends {}, its intent says {}", attempt.instance_id,
                                attempt.idempotency_key, data.value("idempotency_key", "")));
    if (step.kind == StepKind::once) return;  // its key belongs to the once key
    std::string& known = keys_[{{attempt.instance_id, step.name}, attempt.generation}];
    if (!known.empty() && known != attempt.idempotency_key)
        watch_.find("another_key", fmt::format("{} {} sends {} after {}", attempt.instance_id,
                                               step.name, attempt.idempotency_key, known));
    known = attempt.idempotency_key;
}

}  // namespace steplog::testing
