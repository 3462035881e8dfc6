#include "engine/context.h"

#include <fmt/format.h>

#include "engine/replay.h"

namespace steplog {
namespace {

std::string dump(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

NewEntry stuck_entry(const std::string& step, const std::string& code, const std::string& message) {
    return {.step = step, .kind = EntryKind::stuck, .data = {{"code", code}, {"error", message}}};
}

// What goes into a log entry or a row is bounded, whatever a provider's library put into a message.
std::string bounded(const std::string& text) {
    constexpr std::size_t length_max = 1000;
    return text.size() <= length_max ? text : text.substr(0, length_max) + "…";
}

Json parse_stored(const std::string& text) { return Json::parse(text, nullptr, false); }

}  // namespace

// One call of step() from intent to outcome.
class Context::StepRun {
  public:
    StepRun(Context& context, std::string name, const StepOptions& options)
        : context_(context),
          replay_(*context.replay_),
          name_(std::move(name)),
          options_(options),
          policy_(options.retry.value_or(context.surroundings_.defaults.retry)),
          record_(replay_.log.steps[name_]) {
        if (options.attempts_max) policy_.attempts_max = *options.attempts_max;
        begun_at_ms_ = now();
    }

    Json run(const std::function<Json(const Attempt&)>& effect) {
        context_.begin_no_more_if_draining();
        attempt_.generation = record_.generation;
        attempt_.idempotency_key =
            idempotency_key(prefix(), context_.instance_id(), name_, record_.generation);
        attempt_.request = record_.request ? parse_stored(*record_.request) : options_.request;
        attempt_.instance_id = context_.instance_id();
        attempt_.timeout =
            options_.attempt_timeout.value_or(context_.surroundings_.defaults.attempt_timeout);
        attempt_.stop = context_.surroundings_.ending;
        attempt_.number = record_.number + 1;
        if (record_.in_doubt)
            if (auto adopted = resolve_doubt(record_.key_since_ms)) return *adopted;
        if (auto adopted = write_intent()) return *adopted;
        return invoke(effect);
    }

  private:
    std::int64_t now() const { return context_.surroundings_.clock.now_ms(); }
    const std::string& prefix() const { return context_.surroundings_.defaults.idempotency_prefix; }

    template <class Callable>
    auto call(const Callable& callable) {
        replay_.in_step = true;
        struct Leave {
            bool& flag;
            ~Leave() { flag = false; }
        } leave{replay_.in_step};
        begun_at_ms_ = now();
        auto result = callable(std::as_const(attempt_));
        context_.stay_suspended();  // a nested call may have suspended, and the effect swallowed it
        return result;
    }

    // Decides what happens to an attempt whose effect may have happened: its result, or nothing
    // when the same step may be tried again. Suspends or makes stuck otherwise.
    std::optional<Json> resolve_doubt(std::int64_t key_since_ms) {
        if (options_.probe) {
            std::optional<Json> found;
            try {
                found = call(options_.probe);
            } catch (const RetryableError& error) {
                Details details = error.details();
                details.outcome = Outcome::unknown;
                try_again(
                    fmt::format("could not look whether the effect happened: {}", error.what()),
                    details);
            } catch (const PermanentError& error) {
                stuck("in_doubt",
                      fmt::format("the effect of {} may have happened, and looking was refused: {}",
                                  name_, error.what()));
            } catch (const std::exception& error) {
                try_again(
                    fmt::format("looking whether the effect happened failed: {}", error.what()),
                    {.code = "unclassified", .outcome = Outcome::unknown});
            }
            if (found) return complete(*found, {{"adopted", "probe"}});
            probed_ = true;
            if (record_.remembered) next_generation();
            return std::nullopt;
        }
        if (options_.idempotency_window > Ms(0) &&
            now() - key_since_ms < options_.idempotency_window.count())
            return std::nullopt;
        if (options_.repeat == Repeat::at_least_once || record_.decided) return std::nullopt;
        stuck("in_doubt",
              fmt::format(
                  "an attempt of {} began and never ended, and it can be neither looked up nor "
                  "safely "
                  "repeated: find out at {} whether it happened; workflow-resume {} repeats it",
                  name_, options_.provider.empty() ? "the provider" : options_.provider,
                  context_.instance_id()));
    }

    // Looked, and nothing was there: a stored error must not be replayed for ever.
    void next_generation() {
        ++attempt_.generation;
        attempt_.idempotency_key =
            idempotency_key(prefix(), context_.instance_id(), name_, attempt_.generation);
    }

    // Makes the attempt durable before its effect. Returns a result when the once key has one.
    std::optional<Json> write_intent() {
        Advance intent = advance();
        intent.attempt = attempt_.number;
        NewEntry started{.step = name_,
                         .kind = EntryKind::started,
                         .attempt = attempt_.number,
                         .generation = attempt_.generation};
        started.data["idempotency_key"] = attempt_.idempotency_key;
        if (!options_.provider.empty()) started.data["provider"] = options_.provider;
        if (probed_) started.data["probed"] = true;
        if (!record_.request && !options_.request.is_null())
            started.payload = dump(options_.request);
        intent.entries.push_back(std::move(started));
        if (!options_.once.empty())
            intent.once_claim =
                OnceClaim{.key = options_.once,
                          .step = name_,
                          .idempotency_key = once_idempotency_key(prefix(), options_.once)};
        if (intent.once_claim && !attempt_.request.is_null())
            intent.once_claim->request = dump(attempt_.request);
        for (bool inherited = false;; inherited = true) {
            Advanced written = context_.commit(intent);
            if (!written.once || written.once->kind == OnceVerdict::Kind::granted) {
                if (written.once) use(*written.once);
                for (const Entry& entry : written.written) replay_.log.apply(entry);
                context_.observe(name_, "started", attempt_.number);
                return std::nullopt;
            }
            const OnceVerdict& verdict = *written.once;
            if (verdict.kind == OnceVerdict::Kind::busy) context_.leave_as_stored();
            if (verdict.kind == OnceVerdict::Kind::adopted) {
                if (!verdict.result)
                    stuck("result_forgotten",
                          fmt::format("{} was finished by {}, whose result was forgotten", name_,
                                      verdict.instance_id));
                return complete(parse_stored(*verdict.result),
                                {{"adopted", "once"}, {"from", verdict.instance_id}});
            }
            use(verdict);
            if (!inherited)
                if (auto adopted = resolve_doubt(verdict.first_attempt_at_ms)) return adopted;
        }
    }

    void use(const OnceVerdict& verdict) {
        attempt_.idempotency_key = verdict.idempotency_key;
        if (verdict.request) attempt_.request = parse_stored(*verdict.request);
        holds_once_ = true;
    }

    Json invoke(const std::function<Json(const Attempt&)>& effect) {
        try {
            return complete(call(effect), Json::object());
        } catch (const RetryableError& error) {
            try_again(error.what(), error.details());
        } catch (const PermanentError& error) {
            fail(error);
        } catch (const std::exception& error) {
            // Unknown errors must not lose a customer: they are tried again, and shown as
            // unclassified.
            try_again(error.what(), {.code = "unclassified", .outcome = Outcome::unknown});
        } catch (const Suspended&) {
            throw;
        } catch (...) {
            try_again("something that is not a std::exception was thrown",
                      {.code = "unclassified", .outcome = Outcome::unknown});
        }
    }

    Json complete(Json result, Json data) {
        Advance outcome = advance();
        outcome.attempt = record_.number;
        outcome.progress = true;
        outcome.lazy = true;
        const std::string stored = dump(result);
        const bool adopted = data.contains("adopted");
        outcome.entries.push_back({.step = name_,
                                   .kind = EntryKind::completed,
                                   .attempt = record_.number,
                                   .generation = attempt_.generation,
                                   .data = std::move(data),
                                   .payload = stored});
        if (holds_once_)
            outcome.once_settle =
                OnceSettle{.key = options_.once, .completed = true, .result = stored};
        context_.hand_in(std::move(outcome));
        record_.status = StepRecord::Status::completed;
        record_.result = stored;
        record_.in_doubt = false;
        context_.observe(name_, adopted ? "adopted" : "completed", record_.number, {}, {},
                         now() - begun_at_ms_);
        return result;
    }

    using Details = RetryableError::Details;

    [[noreturn]] void try_again(const std::string& message, const Details& details) {
        const bool interrupted =
            details.interrupted || context_.surroundings_.ending.stop_requested();
        Advance outcome = advance();
        outcome.attempt = record_.number;
        outcome.progress = true;
        NewEntry retried{.step = name_,
                         .kind = EntryKind::retried,
                         .attempt = record_.number,
                         .generation = attempt_.generation};
        retried.data = {{"outcome", to_string(details.outcome)},
                        {"code", details.code},
                        {"error", bounded(message)}};
        if (details.remembered) retried.data["remembered"] = true;
        if (interrupted) retried.data["interrupted"] = true;
        Entry shown{.step = name_, .kind = EntryKind::retried, .data = retried.data};
        record_.apply(shown);
        if (holds_once_ && !record_.in_doubt)
            outcome.once_settle = OnceSettle{.key = options_.once};

        Transition to{.error_code = details.code, .error = bounded(message)};
        const std::int64_t tried_ms =
            record_.trying_since_ms == 0 ? 0 : now() - record_.trying_since_ms;
        const bool exhausted =
            record_.attempts >= policy_.attempts_max || tried_ms >= policy_.retry_for.count();
        if (interrupted) {
            to.to = State::pending;
            to.delay = Ms(0);
        } else if (exhausted) {
            to = stuck_for(
                "retries_exhausted",
                fmt::format("{} was tried {} times in {} without success; the last answer was: {}",
                            name_, record_.attempts, spoken(tried_ms), bounded(message)));
        } else {
            to.waits_for = WaitsFor::retry;
            to.delay = details.retry_after.value_or(
                backoff(policy_, record_.attempts, context_.surroundings_.random));
            retried.data["delay_ms"] = to.delay->count();
        }
        outcome.entries.push_back(std::move(retried));
        if (to.to == State::stuck)
            outcome.entries.push_back(stuck_entry(name_, to.error_code, to.error));
        outcome.to = std::move(to);
        context_.observe(name_, interrupted ? "interrupted" : "retried", record_.number,
                         details.code, message, now() - begun_at_ms_);
        context_.suspend(std::move(outcome));
    }

    [[noreturn]] void fail(const PermanentError& error) {
        Advance outcome = advance();
        outcome.attempt = record_.number;
        outcome.progress = true;
        outcome.lazy = true;
        outcome.entries.push_back(
            {.step = name_,
             .kind = EntryKind::failed,
             .attempt = record_.number,
             .generation = attempt_.generation,
             .data = {{"code", error.code()}, {"error", bounded(error.what())}}});
        if (holds_once_) outcome.once_settle = OnceSettle{.key = options_.once};
        context_.hand_in(std::move(outcome));
        record_.status = StepRecord::Status::failed;
        record_.in_doubt = false;
        record_.code = error.code();
        record_.error = error.what();
        context_.observe(name_, "failed", record_.number, error.code(), error.what(),
                         now() - begun_at_ms_);
        throw StepFailed(name_, error.code(), error.what());
    }

    [[noreturn]] void stuck(const std::string& code, const std::string& message) {
        Advance outcome = advance();
        outcome.attempt = record_.number;
        outcome.entries.push_back(stuck_entry(name_, code, message));
        outcome.to = stuck_for(code, message);
        context_.suspend(std::move(outcome));
    }

    Transition stuck_for(const std::string& code, const std::string& message) const {
        return {.to = State::stuck,
                .error_code = code,
                .error = message,
                .release_key = context_.may_release_key()};
    }

    static std::string spoken(std::int64_t ms) {
        if (ms < 120'000) return fmt::format("{} s", ms / 1000);
        if (ms < 7'200'000) return fmt::format("{} min", ms / 60'000);
        return fmt::format("{} h", ms / 3'600'000);
    }

    Advance advance() const {
        return {.instance = context_.claimed_.seq, .epoch = context_.claimed_.epoch, .step = name_};
    }

    Context& context_;
    Replay& replay_;
    const std::string name_;
    const StepOptions& options_;
    RetryPolicy policy_;
    StepRecord& record_;
    Attempt attempt_;
    bool probed_ = false;
    bool holds_once_ = false;
    std::int64_t begun_at_ms_ = 0;
};

Context::Context(const Surroundings& surroundings, Claimed claimed)
    : surroundings_(surroundings),
      claimed_(std::move(claimed)),
      replay_(std::make_unique<Replay>()) {
    replay_->log = StepLog(claimed_.log);
}

Context::~Context() = default;

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

Json Context::step_json(std::string_view name, const StepOptions& options,
                        const std::function<Json(const Attempt&)>& effect) {
    stay_suspended();
    const std::string step(name);
    if (replay_->in_step)
        stuck("nested_step",
              fmt::format("step {} was begun inside another step: a step may not contain steps",
                          step));
    if (step.empty() || step.size() > 255)
        stuck("bad_step_name", "a step's name must have 1 to 255 characters");
    if (!replay_->asked.insert(step).second)
        stuck(
            "duplicate_step",
            fmt::format("two steps of this workflow are named {}: a step is known by its name, so "
                        "put what tells them apart into it",
                        step));
    const StepRecord& record = replay_->log.steps[step];
    if (record.status == StepRecord::Status::completed) {
        if (!record.result)
            stuck("result_forgotten",
                  fmt::format("the stored result of {} was forgotten or purged", step));
        return parse_stored(*record.result);
    }
    if (record.status == StepRecord::Status::failed)
        throw StepFailed(step, record.code, record.error);
    return StepRun(*this, step, options).run(effect);
}

void Context::undecodable(std::string_view name, const Json& stored, const std::string& why) {
    stuck("undecodable_result",
          fmt::format("the stored result of {} is {} {} and no longer converts to what the code "
                      "expects ({}): "
                      "deploy code that reads it",
                      name, stored.is_object() || stored.is_array() ? "an" : "a",
                      stored.type_name(), why));
}

void Context::take_key(const std::string& key) {
    stay_suspended();
    if (claimed_.key == key) return;
    begin_no_more_if_draining();
    Advance advance{.instance = claimed_.seq, .epoch = claimed_.epoch, .take_key = key};
    advance.entries.push_back({.kind = EntryKind::key, .data = {{"key", key}}});
    const Advanced taken = commit(advance);
    claimed_.key = key;
    if (taken.queued) leave_as_stored();
}

void Context::stuck(const std::string& code, const std::string& message) {
    Advance outcome{.instance = claimed_.seq, .epoch = claimed_.epoch};
    outcome.entries.push_back(stuck_entry("", code, message));
    outcome.to = Transition{
        .to = State::stuck, .error_code = code, .error = message, .release_key = may_release_key()};
    suspend(std::move(outcome));
}

bool Context::may_release_key() const {
    if (claimed_.on_stuck != OnStuck::release_key) return false;
    for (const auto& [name, record] : replay_->log.steps)
        if (record.in_doubt) return false;
    return true;
}

void Context::stay_suspended() const {
    if (replay_->suspended) throw Suspended{};
}

void Context::begin_no_more_if_draining() {
    if (!surroundings_.draining.stop_requested()) return;
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
    settle_handed_in();
    replay_->handed_in = outcome;
    replay_->handed_in_result = surroundings_.store.advance(std::move(outcome));
}

// Makes certain that the last outcome is durable; hands it in again after a full disk.
void Context::settle_handed_in() {
    while (replay_->handed_in) {
        try {
            if (!replay_->handed_in_result.valid()) {
                Advance again = *replay_->handed_in;
                again.lazy = false;
                replay_->handed_in_result = surroundings_.store.advance(std::move(again));
            } else if (replay_->handed_in_result.wait_for(Ms(0)) != std::future_status::ready) {
                surroundings_.store.flush();
            }
            replay_->handed_in_result.get();
            replay_->handed_in.reset();
        } catch (const StoreError& error) {
            wait_or_abandon(error);
        }
    }
}

Advanced Context::commit(const Advance& advance) {
    while (true) {
        // Handed in behind the last outcome, so that one commit carries both.
        auto result = surroundings_.store.advance(advance);
        bool outcome_lost = false;
        if (replay_->handed_in) {
            try {
                replay_->handed_in_result.get();
                replay_->handed_in.reset();
            } catch (const StoreError& error) {
                outcome_lost = true;
                result.wait();
                wait_or_abandon(error);
            }
        }
        if (outcome_lost) settle_handed_in();
        try {
            return result.get();
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
                               surroundings_.store.await_room(surroundings_.ending);
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
