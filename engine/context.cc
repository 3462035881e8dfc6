#include "engine/context.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/entries.h"
#include "engine/hold.h"
#include "engine/replay.h"
#include "engine/run_id.h"
#include "engine/step_run.h"
#include "engine/workflow.h"

namespace steplog {
void tell_breakers(const Surroundings& surroundings, const std::vector<BreakerNews>& news) {
    if (!surroundings.observe) return;
    for (const BreakerNews& one : news) {
        const char* what = one.change == BreakerChange::recovered ? "breaker_closed"
                           : one.change == BreakerChange::opened  ? "breaker_opened"
                                                                  : "breaker_opened_again";
        surroundings.observe({.instance = "provider:" + one.provider,
                              .what = what,
                              .error_code = one.code,
                              .error = one.our_key ? "it does not take our key" : ""});
    }
}

Context::Context(const Surroundings& surroundings, Claimed claimed)
    : surroundings_(surroundings),
      claimed_(std::move(claimed)),
      replay_(std::make_unique<Replay>()) {
    replay_->log = StepLog(claimed_.log);
    const std::int64_t now_ms = surroundings.clock.now_ms();
    hold_ = surroundings.holds ? surroundings.holds->add(claimed_.seq, now_ms, surroundings.ending)
                               : std::make_shared<Hold>(claimed_.seq, now_ms, surroundings.ending);
}

Context::~Context() {
    if (surroundings_.holds) surroundings_.holds->remove(*hold_);
}

int Context::continuations() const {
    constexpr std::int64_t day_ms = 24 * 60 * 60 * 1000;
    const std::int64_t age_ms = surroundings_.clock.now_ms() - claimed_.created_at_ms;
    return replay_->log.resumes + static_cast<int>(std::max<std::int64_t>(age_ms, 0) / day_ms);
}

bool Context::finished(std::string_view step) const {
    const auto found = replay_->log.steps.find(step);
    return found != replay_->log.steps.end() &&
           found->second.status == StepRecord::Status::completed;
}

std::vector<std::string> Context::Replay::not_asked_for() const {
    std::vector<std::pair<std::int64_t, std::string>> found;
    for (const auto& [name, n] : log.begun)
        if (!has_asked_for(name)) found.emplace_back(n, name);
    std::sort(found.begin(), found.end());
    std::vector<std::string> names;
    for (auto& [n, name] : found) names.push_back(std::move(name));
    return names;
}

bool Context::Replay::stands_at_another_look() const {
    const auto here = log.begun.find(at);
    if (here == log.begun.end() || here->second < log.resumed_at) return false;
    const auto before = not_asked_for();
    return std::all_of(before.begin(), before.end(), [&](const std::string& name) {
        return log.begun.at(name) < log.resumed_at;
    });
}

const char* Context::Replay::recorded_otherwise(const std::string& name, EntryKind as) const {
    const auto step = log.steps.find(name);
    const bool is_step =
        step != log.steps.end() && step->second.status != StepRecord::Status::fresh;
    if (is_step && as != EntryKind::started) return "a step";
    if (log.timers.contains(name) && as != EntryKind::timer) return "a sleep";
    if (log.waits.contains(name) && as != EntryKind::signal) return "a wait for a signal";
    if (log.children.contains(name) && as != EntryKind::child) return "a child";
    if (log.recorded.contains(name) && as != EntryKind::recorded) return "a recorded value";
    return nullptr;
}

// A patch that the code does not ask for any more says nothing, unless it was met behind all that
// has been asked for by now.
bool Context::Replay::came_further() const {
    if (!not_asked_for().empty()) return true;
    for (const auto& [key, n] : log.keys)
        if (!keys_taken.contains(key)) return true;
    std::int64_t last = 0;
    for (const auto& [name, as] : asked) {
        const auto begun = log.begun.find(name);
        if (begun == log.begun.end()) return false;  // begun in this call, behind all there was
        last = std::max(last, begun->second);
    }
    return std::any_of(log.patches.begin(), log.patches.end(), [&](const auto& met) {
        return met.second > last && !patches.contains(met.first);
    });
}

bool Context::patched(std::string_view id) {
    stay_suspended();
    const std::string patch(id);
    if (replay_->in_step)
        stuck("nested_step",
              fmt::format("the patch {} was asked for inside a step: ask before it", patch));
    if (patch.empty() || patch.size() > 255)
        stuck("bad_step_name", "a patch's id must have 1 to 255 characters");
    const auto known = replay_->patches.find(patch);
    if (known != replay_->patches.end()) return known->second;
    const bool met = replay_->log.patches.contains(patch);
    const bool is_in_force = met || !replay_->came_further();
    if (is_in_force && !met) replay_->recorded.push_back(patch_entry(patch));
    replay_->patches.emplace(patch, is_in_force);
    return is_in_force;
}

// Refused where it enters, before anything of it is written.
void Context::require_size(const std::string& what, std::size_t bytes, std::size_t bytes_max,
                           const char* name) {
    const auto size = static_cast<std::int64_t>(bytes),
               limit = static_cast<std::int64_t>(bytes_max);
    if (size > limit)
        stuck("limit_exceeded", beyond_limit(what, size, "bytes", limit, name, large_remedy));
    if (is_near(size, limit))
        warn_near_limit(near_limit(what, size, "bytes", limit, name, large_remedy));
}

// Of what is new: what the log has is never refused. What is taken back has room in any case.
void Context::require_room_for(const std::string& step) {
    if (replay_->undoing) return;
    const Limits& limits = surroundings_.limits;
    const auto steps = static_cast<std::int64_t>(replay_->asked.size());
    const std::int64_t entries = static_cast<std::int64_t>(claimed_.log.size()) + replay_->written;
    if (steps > limits.steps_max)
        stuck("limit_exceeded", beyond_limit("with " + step + " this run", steps, "steps",
                                             limits.steps_max, "steps_max", long_remedy));
    if (entries >= limits.log_entries_max)
        stuck("limit_exceeded",
              beyond_limit("before " + step + " its log", entries, "entries",
                           limits.log_entries_max, "log_entries_max", long_remedy));
    // Told once: while the next one is not as near, this one is the first.
    if (is_near(steps, limits.steps_max) && !is_near(steps - 1, limits.steps_max))
        warn_near_limit(
            near_limit("this run", steps, "steps", limits.steps_max, "steps_max", long_remedy));
    if (is_near(entries, limits.log_entries_max) && !replay_->told_of_long_log) {
        replay_->told_of_long_log = true;
        warn_near_limit(near_limit("its log", entries, "entries", limits.log_entries_max,
                                   "log_entries_max", long_remedy));
    }
}

void Context::warn_near_limit(const std::string& message) {
    observe(replay_->at, "near_limit", 0, "", message);
}

std::string Context::asked_for(std::string_view name, EntryKind as) {
    stay_suspended();
    std::string step(name);
    if (replay_->in_step)
        stuck("nested_step",
              fmt::format("step {} was begun inside another step: a step may not contain steps",
                          step));
    if (step.empty() || step.size() > 255)
        stuck("bad_step_name", "a step's name must have 1 to 255 characters");
    if (!replay_->asked.emplace(step, as).second)
        stuck(
            "duplicate_step",
            fmt::format("two steps of this workflow are named {}: a step is known by its name, so "
                        "put what tells them apart into it",
                        step));
    replay_->at = step;
    if (!replay_->log.begun.contains(step)) require_room_for(step);
    return step;
}

std::optional<Json> Context::stored_result(const std::string& step) {
    const StepRecord& record = replay_->log.step(step);
    if (record.status == StepRecord::Status::completed) {
        if (!record.result)
            stuck("result_forgotten",
                  fmt::format("the stored result of {} was forgotten or purged", step));
        return parse_stored(*record.result);
    }
    if (record.status == StepRecord::Status::failed)
        throw StepFailed(step, record.code, record.error);
    return std::nullopt;
}

Json Context::step_json(std::string_view name, const StepOptions& options,
                        const std::function<Json(const Attempt&)>& effect) {
    const std::string step = asked_for(name, EntryKind::started);
    std::optional<Json> result = stored_result(step);
    if (!result) {
        StepRun run(*this, step, options);
        result = run.begin();
        if (!result)
            result = run.end([&](const Attempt& attempt) {
                return call_effect(step, options, attempt, effect);
            });
    }
    remember_undo(step, options, *result);
    return *std::move(result);
}

// Nothing where a newer version has been brought about.
std::optional<Json> Context::update_json(std::string_view name, const UpdateOptions& options,
                                         const std::function<Json(const Attempt&)>& effect) {
    const std::string step = asked_for(name, EntryKind::started);
    if (!options.step.once.empty())
        stuck("once_in_update",
              fmt::format("{} updates something and has a once key: what happens once is not "
                          "brought up to date",
                          step));
    std::optional<Json> result = stored_result(step);
    if (!result) {
        StepRun run(*this, step, options.step,
                    UpdateClaim{.entity = options.entity, .version = options.version});
        result = run.begin();
        if (!result)
            result = run.end([&](const Attempt& attempt) {
                return call_effect(step, options.step, attempt, effect);
            });
    }
    if (replay_->log.step(step).superseded) return std::nullopt;
    remember_undo(step, options.step, *result);
    return result;
}

Json Context::transact_json(std::string_view name, const TransactOptions& options,
                            const Change& change) {
    const std::string step = asked_for(name, EntryKind::started);
    if (std::optional<Json> result = stored_result(step)) return *std::move(result);
    const StepOptions as_step{.attempts_max = options.attempts_max, .retry = options.retry};
    return StepRun(*this, step, as_step).transact(change);
}

void Context::remember_undo(const std::string& step, const StepOptions& options,
                            const Json& result) {
    if (options.undo) replay_->undoable.push_back({step, options, result});
}

// In reverse order, each as a step of its own: what was undone once is not undone again.
void Context::undo_finished_steps() {
    replay_->undoing = true;
    while (!replay_->undoable.empty()) {
        const Replay::Undoable done = std::move(replay_->undoable.back());
        replay_->undoable.pop_back();
        try {
            step_json("undo " + done.step,
                      {.provider = done.options.provider,
                       .idempotency_window = done.options.idempotency_window},
                      [&](const Attempt& attempt) {
                          done.options.undo(attempt, done.result);
                          return Json(nullptr);
                      });
        } catch (const StepFailed& refused) {
            stuck("undo_failed",
                  fmt::format("{} cannot be taken back: {}", done.step, refused.what()));
        }
    }
}

Json Context::call_effect(const std::string& step, const StepOptions& options,
                          const Attempt& attempt,
                          const std::function<Json(const Attempt&)>& effect) const {
    EffectSeam* seam = surroundings_.effects;
    return seam ? seam->call(step, options, attempt, effect) : effect(attempt);
}

void Context::undecodable(std::string_view name, const Json& stored, const std::string& why) {
    stuck("undecodable_result",
          fmt::format("the stored result of {} is {} {} and no longer converts to what the code "
                      "expects ({}): "
                      "deploy code that reads it",
                      name, stored.is_object() || stored.is_array() ? "an" : "a",
                      stored.type_name(), why));
}

std::int64_t Context::now_ms(std::string_view name) {
    return recorded("now", name, [this] { return Json(surroundings_.clock.now_ms()); })
        .get<std::int64_t>();
}

std::uint64_t Context::random(std::string_view name) {
    return recorded("random", name, [this] { return Json(surroundings_.random.next()); })
        .get<std::uint64_t>();
}

std::string Context::uuid(std::string_view name) {
    const auto draw = [this] {
        const std::uint64_t high = surroundings_.random.next(), low = surroundings_.random.next();
        return Json(fmt::format("{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}", high >> 32,
                                high >> 16 & 0xffff, high & 0xfff, 0x8000 | (low >> 48 & 0x3fff),
                                low & 0xffff'ffff'ffff));
    };
    return recorded("uuid", name, draw).get<std::string>();
}

Json Context::recorded(const char* kind, std::string_view name, const std::function<Json()>& draw) {
    const std::string step = asked_for(
        name.empty() ? fmt::format("{}#{}", kind, ++replay_->drawn[kind]) : std::string(name),
        EntryKind::recorded);
    const Json value = draw();
    if (const auto known = replay_->log.recorded.find(step); known != replay_->log.recorded.end()) {
        if (known->second.is_string() != value.is_string())
            undecodable(step, known->second, fmt::format("it draws {} now", kind));
        return known->second;
    }
    replay_->recorded.push_back(
        {.step = step, .kind = EntryKind::recorded, .data = {{"draws", kind}, {"value", value}}});
    return replay_->log.recorded[step] = value;
}

void Context::publish(std::string_view name, const Json& value) {
    stay_suspended();
    const std::string published(name);
    if (replay_->in_step)
        stuck("nested_step",
              fmt::format("{} was published inside a step: publish before or after it", published));
    if (published.empty() || published.size() > 255)
        stuck("bad_step_name", "what is published must have a name of 1 to 255 characters");
    if (++replay_->published[published] <= replay_->log.published[published]) return;
    std::string text = to_text(value);
    require_size("what is published as " + published, text.size(),
                 surroundings_.limits.published_bytes_max, "published_bytes_max");
    require_room_for(published);
    replay_->recorded.push_back(
        {.step = published, .kind = EntryKind::published, .payload = std::move(text)});
}

int Context::run() const { return run_of(claimed_.id); }

void Context::continue_as_new(const Json& input) {
    stay_suspended();
    if (replay_->in_step)
        stuck("nested_step", "it was to continue as new inside a step: do it behind the step");
    replay_->at = "another run";
    std::string input_text = to_text(input);
    require_size("the input of the next run", input_text.size(),
                 surroundings_.limits.input_bytes_max, "input_bytes_max");
    leave_if_cancelling();
    await_children();
    begin_no_more_if_draining();
    Advance parting{.instance = claimed_.seq, .epoch = claimed_.epoch, .progress = true};
    parting.continue_as = NewInstance{
        .id = claimed_.id,
        .workflow = claimed_.workflow,
        .version = surroundings_.registry.version_for(claimed_.workflow, newest_version),
        .input = std::move(input_text)};
    parting.to = Transition{.to = State::completed};
    suspend(std::move(parting));
}

void Context::stuck(const std::string& code, const std::string& message) {
    leave_if_cancelling();
    Advance outcome{.instance = claimed_.seq, .epoch = claimed_.epoch};
    outcome.entries.push_back(stuck_entry("", code, message));
    outcome.to = Transition{
        .to = State::stuck, .error_code = code, .error = message, .release_key = may_release_key()};
    suspend(std::move(outcome));
}

bool Context::may_release_key() const {
    if (claimed_.on_stuck != OnStuck::release_key) return false;
    for (const auto& [name, record] : replay_->log.steps)
        if (record.in_doubt || record.lost_since_ms > 0) return false;
    return true;
}

void Context::stay_suspended() const {
    if (std::this_thread::get_id() != replay_->thread) throw NestedUse{};
    if (replay_->suspended) throw Suspended{};
}

bool Context::is_cancelling() const { return claimed_.cancelling && !replay_->undoing; }

void Context::leave_if_cancelling() {
    if (!is_cancelling()) return;
    replay_->leaves_to_undo = true;
    leave_as_stored();
}

// Steps that run beside it end first, as when the engine stops.
void Context::leave_paused() {
    observe("", "pauses", 0);
    leave_pending();
}

void Context::begin_no_more_if_draining() {
    if (surroundings_.draining.stop_requested()) leave_pending();
}

void Context::leave_pending() {
    Advance leave{.instance = claimed_.seq, .epoch = claimed_.epoch};
    leave.to = Transition{.to = State::pending, .delay = Ms(0)};
    suspend(std::move(leave));
}

void Context::suspend(Advance with) {
    replay_->suspended = true;
    replay_->parting = std::move(with);
    throw Suspended{};
}

void Context::leave_as_stored() {
    replay_->suspended = true;
    throw Suspended{};
}

void Context::abandon() {
    replay_->suspended = true;
    replay_->parting.reset();
    replay_->abandoned = true;
    throw Suspended{};
}

void Context::hand_in(Advance outcome) {
    if (!surroundings_.store) return;
    settle_handed_in();
    prepare(outcome);
    replay_->written += static_cast<std::int64_t>(outcome.entries.size());
    replay_->recorded.clear();
    replay_->handed_in = outcome;
    replay_->handed_in_result = surroundings_.store->advance(std::move(outcome));
}

// Makes certain that the last outcome is durable; hands it in again after a full disk.
void Context::settle_handed_in() {
    while (replay_->handed_in) {
        try {
            if (!replay_->handed_in_result.valid()) {
                Advance again = *replay_->handed_in;
                again.lazy = false;
                replay_->handed_in_result = surroundings_.store->advance(std::move(again));
            } else if (replay_->handed_in_result.wait_for(Ms(0)) != std::future_status::ready) {
                surroundings_.store->flush();
            }
            tell_breakers(surroundings_, replay_->handed_in_result.get().breakers);
            replay_->handed_in.reset();
        } catch (const StoreError& error) {
            wait_or_abandon(error);
        }
    }
}

void Context::prepare(Advance& advance) {
    advance.takes_back = claimed_.cancelling || replay_->undoing;
    advance.flow = surroundings_.flow;
    advance.entries.insert(advance.entries.begin(), replay_->recorded.begin(),
                           replay_->recorded.end());
}

Advanced Context::commit(Advance advance) {
    prepare(advance);
    while (true) {
        // Not handed in after all, for want of memory: it comes first.
        if (replay_->handed_in && !replay_->handed_in_result.valid()) settle_handed_in();
        // Handed in behind the last outcome, so that one commit carries both; waited for before
        // it, so that the thread is woken once.
        auto result = surroundings_.store->advance(advance);
        result.wait();
        bool outcome_lost = false;
        if (replay_->handed_in) {
            try {
                tell_breakers(surroundings_, replay_->handed_in_result.get().breakers);
                replay_->handed_in.reset();
            } catch (const StoreError& error) {
                outcome_lost = true;
                wait_or_abandon(error);
            }
        }
        if (outcome_lost) settle_handed_in();
        try {
            Advanced advanced = result.get();
            replay_->written += static_cast<std::int64_t>(advanced.written.size());
            tell_breakers(surroundings_, advanced.breakers);
            if (advanced.paused) leave_paused();
            // A once key that is not ours, a breaker or a newer version: nothing was written.
            if (!advanced.held_back && !advanced.superseded_by &&
                (!advanced.once || advanced.once->kind == OnceVerdict::Kind::granted))
                replay_->recorded.clear();
            if (!advanced.cancelled) return advanced;
            observe("", "cancelled", 0);
            if (advance.to) return advanced;
            leave_as_stored();
        } catch (const StoreError& error) {
            wait_or_abandon(error);
        }
    }
}

void Context::wait_or_abandon(const StoreError& error) {
    if (error.kind() == StoreError::Kind::constraint) {
        replay_->handed_in.reset();
        stuck("write_refused", bounded(error.what()));
    }
    const bool worth_waiting = error.kind() == StoreError::Kind::full &&
                               surroundings_.store->await_room(surroundings_.ending);
    if (!worth_waiting) abandon();
}

void Context::observe(const std::string& step, const char* what, int attempt,
                      const std::string& code, const std::string& error,
                      std::int64_t took_ms) const {
    if (!surroundings_.observe) return;
    surroundings_.observe({.instance = claimed_.id,
                           .workflow = claimed_.workflow,
                           .step = step,
                           .what = what,
                           .error_code = code,
                           .error = error,
                           .attempt = attempt,
                           .epoch = claimed_.epoch,
                           .took_ms = took_ms});
}

}  // namespace steplog
