#include "engine/step_run.h"

#include <fmt/format.h>

#include "engine/entries.h"
#include "engine/hold.h"

namespace steplog {
namespace {

// A mistake of ours is more likely than the provider's.
const RetryableError::Details unclassified{.code = "unclassified",
                                           .outcome = Outcome::unknown,
                                           .trouble = RetryableError::Trouble::request};

std::string spoken(std::int64_t ms) {
    if (ms < 120'000) return fmt::format("{} s", ms / 1000);
    if (ms < 7'200'000) return fmt::format("{} min", ms / 60'000);
    return fmt::format("{} h", ms / 3'600'000);
}

}  // namespace

Context::StepRun::StepRun(Context& context, std::string name, const StepOptions& options,
                          std::optional<UpdateClaim> update)
    : context_(context),
      replay_(*context.replay_),
      name_(std::move(name)),
      options_(options),
      update_(std::move(update)),
      policy_(options.retry.value_or(context.surroundings_.defaults.retry)),
      record_(replay_.log.step(name_)),
      // An attempt in doubt never let its once key go.
      holds_once_(!options.once.empty() && record_.in_doubt),
      begun_at_ms_(now()) {
    const StepDefaults& defaults = context.surroundings_.defaults;
    if (options.attempts_max) policy_.attempts_max = *options.attempts_max;
    attempt_.generation = record_.generation;
    attempt_.idempotency_key =
        idempotency_key(prefix(), context.instance_id(), name_, record_.generation);
    attempt_.request = record_.request ? parse_stored(*record_.request) : options.request;
    attempt_.instance_id = context.instance_id();
    attempt_.timeout = options.attempt_timeout.value_or(defaults.attempt_timeout);
    // What takes back is the end that somebody asked for.
    const bool takes_back = replay_.undoing || context.claimed_.cancelling;
    attempt_.stop = takes_back ? context.hold_->shutdown() : context.hold_->stop();
    attempt_.shutdown = context.hold_->shutdown();
    if (context.surroundings_.heartbeat)
        attempt_.on_heartbeat = [hold = context.hold_, &surroundings = context.surroundings_] {
            surroundings.heartbeat(*hold);
        };
    attempt_.number = record_.number + 1;
}

std::optional<Json> Context::StepRun::begin() {
    // What may have happened is to be taken back as well, where it can be looked up.
    const bool looks_first = record_.in_doubt && options_.probe && options_.undo;
    if (!looks_first) context_.leave_if_cancelling();
    context_.begin_no_more_if_draining();
    if (context_.is_cancelling()) {
        if (auto adopted = resolve_doubt(record_.key_since_ms)) return adopted;
        context_.leave_if_cancelling();
    }
    if (record_.in_doubt || record_.lost_since_ms > 0)
        if (auto superseded = ask_version()) return superseded;
    if (record_.in_doubt) {
        if (auto adopted = resolve_doubt(record_.key_since_ms)) return adopted;
    } else if (record_.lost_since_ms > 0 && options_.once.empty()) {
        // What happens once is asked of its key first: another instance may have finished it.
        if (auto adopted = resolve_doubt(record_.lost_since_ms)) return adopted;
    }
    auto adopted = write_intent();
    begun_at_ms_ = now();
    return adopted;
}

template <class Callable>
auto Context::StepRun::call(const Callable& callable) {
    replay_.in_step = true;
    struct Leave {
        bool& flag;
        ~Leave() { flag = false; }
    } leave{replay_.in_step};
    auto result = callable(std::as_const(attempt_));
    context_.stay_suspended();  // a nested call may have suspended, and the effect swallowed it
    return result;
}

// --- in doubt
// -------------------------------------------------------------------------------------

void Context::StepRun::ask_breaker() {
    if (options_.provider.empty() || may_call_) return;
    Advance asks = advance();
    asks.calls = options_.provider;
    asks.has_turn = has_turn();
    if (const auto held_back = context_.commit(asks).held_back) park(*held_back);
    call_is_begun();
}

// Whether the provider's rate has let this instance through, for one call.
bool Context::StepRun::has_turn() const {
    const Limit rate{Limit::Kind::rate, LimitOf::provider, options_.provider};
    return !options_.provider.empty() && context_.claimed_.turn == rate.detail();
}

void Context::StepRun::call_is_begun() {
    if (has_turn()) context_.claimed_.turn.clear();
    may_call_ = true;
}

void Context::StepRun::park(const std::string& detail) {
    if (context_.claimed_.gave_up_on == detail) stuck("retries_exhausted", waited_in_vain(detail));
    Advance parked = advance();
    parked.to = Transition{.to = State::sleeping,
                           .waits_for = WaitsFor::circuit,
                           .waits_detail = detail,
                           .error_code = record_.code,
                           .error = record_.error};
    if (!parse_limit(detail)) parked.to->due_at_ms = give_up_at_ms();
    context_.observe(name_, "parked", record_.number);
    context_.suspend(std::move(parked));
}

// As long as it would be tried: a person is to learn of an outage no later for the breaker.
std::int64_t Context::StepRun::give_up_at_ms() const {
    const std::int64_t since_ms = record_.trying_since_ms > 0 ? record_.trying_since_ms : now();
    return since_ms + std::min<std::int64_t>(policy_.retry_for.count(), INT64_MAX - since_ms);
}

std::string Context::StepRun::waited_in_vain(const std::string& provider) const {
    std::string message = fmt::format(
        "{} was tried {} times and parked for the rest of its time, because {} is out of order",
        name_, record_.attempts, provider);
    if (!record_.error.empty()) message += "; the last answer was: " + record_.error;
    return message;
}

std::optional<Json> Context::StepRun::ask_version() {
    if (!update_ || may_update_) return std::nullopt;
    Advance asks = advance();
    asks.update = update_;
    const Advanced asked = context_.commit(asks);
    if (asked.held_back) park(*asked.held_back);
    if (asked.superseded_by) return be_superseded(*asked.superseded_by);
    may_update_ = true;
    return std::nullopt;
}

Json Context::StepRun::be_superseded(std::int64_t by) {
    record_.superseded = true;
    return complete(nullptr, {{"superseded", by}, {"version", update_->version}});
}

std::optional<Json> Context::StepRun::resolve_doubt(std::int64_t key_since_ms) {
    if (options_.probe) {
        ask_breaker();
        if (auto found = look()) return complete(std::move(*found), {{"adopted", "probe"}});
        probed_ = true;
        if (record_.remembered) next_generation();
        return std::nullopt;
    }
    // An attempt from the future: the clock was set back, and nobody knows how old the key is.
    const std::int64_t age_ms = now() - key_since_ms;
    if (age_ms >= 0 && age_ms < options_.idempotency_window.count()) return std::nullopt;
    if (options_.repeat == Repeat::at_least_once || record_.decided) return std::nullopt;
    const bool lost = !record_.in_doubt && record_.lost_since_ms > 0;
    stuck("in_doubt",
          fmt::format(
              "{} of {} {}, and it can be neither looked up nor safely repeated: find out at {} "
              "whether it happened; workflow-resume {} repeats it",
              lost ? "the effect" : "an attempt", name_,
              lost ? "may have happened before this database was restored from a backup"
                   : "began and never ended",
              options_.provider.empty() ? "the provider" : options_.provider,
              context_.instance_id()));
}

std::optional<Json> Context::StepRun::look() {
    try {
        EffectSeam* seam = context_.surroundings_.effects;
        return call([&](const Attempt& attempt) {
            return seam ? seam->look(name_, options_, attempt) : options_.probe(attempt);
        });
    } catch (const RetryableError& error) {
        Details details = error.details();
        details.outcome = Outcome::unknown;
        try_again(fmt::format("could not look whether the effect happened: {}", error.what()),
                  details);
    } catch (const PermanentError& error) {
        stuck("in_doubt",
              fmt::format("the effect of {} may have happened, and looking was refused: {}", name_,
                          error.what()));
    } catch (const std::exception& error) {
        try_again(fmt::format("looking whether the effect happened failed: {}", error.what()),
                  unclassified);
    }
}

// Looked, and nothing was there: a stored error must not be replayed for ever.
void Context::StepRun::next_generation() {
    ++attempt_.generation;
    attempt_.idempotency_key =
        idempotency_key(prefix(), context_.instance_id(), name_, attempt_.generation);
}

// --- the intent
// -----------------------------------------------------------------------------------

std::optional<Json> Context::StepRun::write_intent() {
    Advance wanted = intent();
    for (bool inherited = false;; inherited = true) {
        if (wanted.once_claim) wanted.once_claim->decided = inherited;
        if (may_call_) wanted.calls.clear();
        const Advanced written = context_.commit(wanted);
        if (written.held_back) park(*written.held_back);
        if (written.superseded_by) return be_superseded(*written.superseded_by);
        if (!written.once || written.once->kind == OnceVerdict::Kind::granted) {
            call_is_begun();
            if (written.once) use(*written.once);
            for (const Entry& stored : written.written) replay_.log.apply(stored);
            context_.observe(name_, "started", attempt_.number);
            return std::nullopt;
        }
        const OnceVerdict& verdict = *written.once;
        if (verdict.kind == OnceVerdict::Kind::busy) context_.leave_as_stored();
        if (verdict.kind == OnceVerdict::Kind::damaged)
            stuck("log_damaged",
                  fmt::format(
                      "what is stored of the once key of {} is not what was written, so nothing "
                      "was called: restore a backup",
                      name_));
        if (verdict.kind == OnceVerdict::Kind::adopted) {
            holds_once_ = false;
            if (!verdict.result && options_.once_forgotten)
                return complete(*options_.once_forgotten,
                                {{"adopted", "once"}, {"from", verdict.instance_id}});
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

Advance Context::StepRun::intent() const {
    Advance intent = advance();
    intent.attempt = attempt_.number;
    if (!may_call_) intent.calls = options_.provider;
    intent.has_turn = has_turn();
    if (!may_update_) intent.update = update_;
    NewEntry started = entry(EntryKind::started, {{"idempotency_key", attempt_.idempotency_key}});
    started.attempt = attempt_.number;
    if (!options_.provider.empty()) started.data["provider"] = options_.provider;
    if (probed_) started.data["probed"] = true;
    if (!record_.request && !options_.request.is_null())
        started.payload = to_text(options_.request);
    intent.entries.push_back(std::move(started));
    if (options_.once.empty()) return intent;
    intent.once_claim = OnceClaim{.key = options_.once,
                                  .step = name_,
                                  .idempotency_key = once_idempotency_key(prefix(), options_.once)};
    if (!record_.in_doubt) intent.once_claim->lost_since_ms = record_.lost_since_ms;
    if (!attempt_.request.is_null()) intent.once_claim->request = to_text(attempt_.request);
    return intent;
}

void Context::StepRun::use(const OnceVerdict& verdict) {
    attempt_.idempotency_key = verdict.idempotency_key;
    if (verdict.request) attempt_.request = parse_stored(*verdict.request);
    holds_once_ = true;
}

// --- the effect
// -----------------------------------------------------------------------------------

Json Context::StepRun::end(const std::function<Json(const Attempt&)>& effect) {
    Json result = try_once([&] { return call(effect); });
    // Outside: what goes wrong from here on is not the effect's, and a result that was handed in
    // must not be followed by another attempt.
    return complete(std::move(result), Json::object());
}

Json Context::StepRun::transact(const Change& change) {
    context_.leave_if_cancelling();
    context_.begin_no_more_if_draining();
    if (!context_.surroundings_.store->has_tables())
        stuck("change_refused",
              fmt::format("{} changes tables of the program's own, and this store holds none: keep "
                          "them in a database of their own, and make it a step with a probe",
                          name_));
    context_.settle_handed_in();
    unwritten_ = entry(EntryKind::started, {{"transact", true}});
    unwritten_->attempt = attempt_.number;
    record_.apply(Entry{.step = name_,
                        .kind = EntryKind::started,
                        .attempt = attempt_.number,
                        .generation = attempt_.generation,
                        .at_ms = now()});
    Json result = try_once([&] { return make(change); });
    record_.status = StepRecord::Status::completed;
    record_.result = to_text(result);
    record_.in_doubt = false;
    context_.observe(name_, "completed", record_.number, {}, {}, now() - begun_at_ms_);
    return result;
}

Json Context::StepRun::make(const Change& change) {
    Advance write = advance();
    write.progress = true;
    const std::size_t bytes_max = context_.surroundings_.limits.result_bytes_max;
    write.change = [&change, bytes_max](SQLite::Database& database) {
        Json result = change(database);
        if (const std::size_t bytes = to_text(result).size(); bytes > bytes_max)
            throw ChangeRefused(beyond_limit("its result", static_cast<std::int64_t>(bytes),
                                             "bytes", static_cast<std::int64_t>(bytes_max),
                                             "result_bytes_max", large_remedy));
        return result;
    };
    write.entries = {*unwritten_, entry(EntryKind::completed, Json::object())};
    struct InStep {
        bool& flag;
        explicit InStep(bool& of) : flag(of) { flag = true; }
        ~InStep() { flag = false; }
    } in_step{replay_.in_step};
    try {
        const Advanced written = context_.commit(std::move(write));
        context_.stay_suspended();  // it used the context, and swallowed that it may not
        return parse_stored(*written.written.back().payload);
    } catch (const ChangeThrew& error) {
        context_.stay_suspended();
        error.rethrow();
    }
}

void Context::StepRun::add_intent(Advance& outcome) {
    if (unwritten_) outcome.entries.push_back(*unwritten_);
}

// The result, or an outcome that suspends the instance or fails the step.
Json Context::StepRun::try_once(const std::function<Json()>& effect) {
    try {
        return effect();
    } catch (const RetryableError& error) {
        try_again(error.what(), error.details());
    } catch (const PermanentError& error) {
        fail(error);
    } catch (const ChangeRefused& error) {
        stuck("change_refused", fmt::format("{}: {}", name_, error.what()));
    } catch (const std::exception& error) {
        // An error that nobody foresaw must not lose a customer: tried again, and shown as
        // unclassified.
        try_again(error.what(), unclassified);
    } catch (const Suspended&) {
        throw;
    } catch (const NestedUse&) {
        stuck("nested_step",
              fmt::format("step {}, which runs beside others, used the workflow's context: a step "
                          "may not contain steps",
                          name_));
    } catch (...) {
        try_again("something that is not a std::exception was thrown", unclassified);
    }
}

// --- the outcome
// ----------------------------------------------------------------------------------

Json Context::StepRun::complete(Json result, Json data) {
    const bool adopted = data.contains("adopted");
    const bool called = !record_.superseded && (!adopted || data.at("adopted") == "probe");
    Advance outcome = advance();
    if (called) tells(outcome, ProviderSign::well);
    outcome.progress = true;
    outcome.lazy = true;
    NewEntry completed = entry(EntryKind::completed, std::move(data));
    if (options_.undo && !record_.superseded) completed.data["undo"] = true;
    completed.payload = to_text(result);
    context_.require_size("the result of " + name_, completed.payload->size(),
                          context_.surroundings_.limits.result_bytes_max, "result_bytes_max");
    if (holds_once_)
        outcome.once_settle =
            OnceSettle{.key = options_.once, .completed = true, .result = completed.payload};
    record_.status = StepRecord::Status::completed;
    record_.result = completed.payload;
    record_.in_doubt = false;
    outcome.entries.push_back(std::move(completed));
    context_.hand_in(std::move(outcome));
    make_room();
    const char* what = adopted ? "adopted" : record_.superseded ? "superseded" : "completed";
    context_.observe(name_, what, record_.number, {}, {}, now() - begun_at_ms_);
    return result;
}

void Context::StepRun::try_again(const std::string& message, const Details& details) {
    const bool interrupted = details.interrupted || context_.surroundings_.ending.stop_requested();
    const Outcome happened = unwritten_ ? Outcome::refused : details.outcome;
    NewEntry retried = entry(
        EntryKind::retried,
        {{"outcome", to_string(happened)}, {"code", details.code}, {"error", bounded(message)}});
    if (details.remembered) retried.data["remembered"] = true;
    if (interrupted) retried.data["interrupted"] = true;
    record_.apply(Entry{.step = name_, .kind = EntryKind::retried, .data = retried.data});

    Advance outcome = advance();
    outcome.progress = true;
    if (!interrupted && details.trouble != RetryableError::Trouble::request)
        tells(outcome,
              details.trouble == RetryableError::Trouble::our_key ? ProviderSign::key_rejected
                                                                  : ProviderSign::down,
              details.code, details.provider);
    outcome.to = after_retry(message, details, interrupted);
    add_intent(outcome);
    if (outcome.to->delay && !interrupted) retried.data["delay_ms"] = outcome.to->delay->count();
    outcome.entries.push_back(std::move(retried));
    if (outcome.to->to == State::stuck)
        outcome.entries.push_back(stuck_entry(name_, outcome.to->error_code, outcome.to->error));
    if (holds_once_ && !record_.in_doubt) outcome.once_settle = OnceSettle{.key = options_.once};
    if (happened == Outcome::refused) take_back_update(outcome);
    context_.observe(name_, interrupted ? "interrupted" : "retried", record_.number, details.code,
                     message, now() - begun_at_ms_);
    context_.suspend(std::move(outcome));
}

Transition Context::StepRun::after_retry(const std::string& message, const Details& details,
                                         bool interrupted) {
    Transition to{.error_code = details.code, .error = bounded(message)};
    const std::int64_t since_ms = record_.trying_since_ms;
    const std::int64_t tried_ms = since_ms == 0 ? 0 : now() - since_ms;
    if (interrupted) {
        to.to = State::pending;
        to.delay = Ms(0);
    } else if (record_.attempts >= policy_.attempts_max || tried_ms >= policy_.retry_for.count()) {
        to = stuck_for(
            "retries_exhausted",
            fmt::format("{} was tried {} times in {} without success; the last answer was: {}",
                        name_, record_.attempts, spoken(tried_ms), bounded(message)));
    } else {
        to.to = State::sleeping;
        to.waits_for = WaitsFor::retry;
        to.delay = details.retry_after.value_or(
            backoff(policy_, record_.attempts, context_.surroundings_.random));
    }
    return to;
}

void Context::StepRun::fail(const PermanentError& error) {
    Advance outcome = advance();
    add_intent(outcome);
    outcome.progress = true;
    outcome.lazy = true;
    tells(outcome, ProviderSign::well);
    outcome.entries.push_back(
        entry(EntryKind::failed, {{"code", error.code()}, {"error", bounded(error.what())}}));
    if (holds_once_) outcome.once_settle = OnceSettle{.key = options_.once, .for_good = true};
    take_back_update(outcome);
    context_.hand_in(std::move(outcome));
    make_room();
    record_.status = StepRecord::Status::failed;
    record_.in_doubt = false;
    record_.code = error.code();
    record_.error = error.what();
    context_.observe(name_, "failed", record_.number, error.code(), error.what(),
                     now() - begun_at_ms_);
    throw StepFailed(name_, error.code(), error.what());
}

void Context::StepRun::stuck(const std::string& code, const std::string& message) {
    Advance outcome = advance();
    outcome.entries.push_back(stuck_entry(name_, code, message));
    outcome.to = stuck_for(code, message);
    context_.suspend(std::move(outcome));
}

Transition Context::StepRun::stuck_for(const std::string& code, const std::string& message) const {
    return {.to = State::stuck,
            .error_code = code,
            .error = bounded(message),
            .release_key = context_.may_release_key()};
}

void Context::StepRun::take_back_update(Advance& outcome) const {
    if (!update_) return;
    outcome.update = update_;
    outcome.update->refused = true;
}

// Somebody may be parked for want of the room that this step has given back.
void Context::StepRun::make_room() const {
    const Surroundings& around = context_.surroundings_;
    if (!around.due_now) return;
    const bool limited = around.flow && !options_.provider.empty() &&
                         around.flow->of_provider(options_.provider).running_max > 0;
    if (limited || update_) around.due_now();
}

void Context::StepRun::tells(Advance& outcome, ProviderSign sign, const std::string& code,
                             const std::string& provider) const {
    const std::string& whose = provider.empty() ? options_.provider : provider;
    if (!whose.empty())
        outcome.answer = ProviderAnswer{.provider = whose, .sign = sign, .code = code};
}

Advance Context::StepRun::advance() const {
    return {.instance = context_.claimed_.seq,
            .epoch = context_.claimed_.epoch,
            .step = name_,
            .attempt = record_.number};
}

NewEntry Context::StepRun::entry(EntryKind kind, Json data) const {
    return {.step = name_,
            .kind = kind,
            .attempt = record_.number,
            .generation = attempt_.generation,
            .data = std::move(data)};
}

}  // namespace steplog
