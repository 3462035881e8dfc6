#include "tests/model/watched_store.h"

#include <fmt/ranges.h>

#include <future>
#include <variant>

#include "engine/entries.h"

namespace steplog::testing {
namespace {

std::string said(const std::optional<std::string>& text) { return text ? *text : "(none)"; }

std::string said(const Entry& entry) {
    return fmt::format("{} {} {} attempt {} generation {} at {} {} {}", entry.n, entry.step,
                       to_string(entry.kind), entry.attempt, entry.generation, entry.at_ms,
                       to_text(entry.data), said(entry.payload));
}

// What an answer says, as text: the real one and the reference's must read the same.
std::string said(const Claimed& claimed) {
    std::string text = fmt::format(
        "{} {} {} v{} epoch {} key '{}' {} deaths {} cancelling {} gave up on '{}' turn '{}' "
        "created {} deadline {} priority {} input {} damage '{}'",
        claimed.seq, claimed.id, claimed.workflow, claimed.version, claimed.epoch, claimed.key,
        to_string(claimed.on_stuck), claimed.deaths, claimed.cancelling, claimed.gave_up_on,
        claimed.turn, claimed.created_at_ms, claimed.deadline_ms.value_or(0), claimed.priority,
        said(claimed.input), claimed.damage);
    for (const Entry& entry : claimed.log) text += "\n      " + said(entry);
    return text;
}

std::string said(const std::optional<Claimed>& claimed) {
    return claimed ? said(*claimed) : "nothing";
}

std::string said(const Accepted& accepted) {
    return fmt::format(
        "duplicate {} conflict {} debounced {} instance {} id '{}' refused {} claimed {}",
        accepted.duplicate, accepted.conflict, accepted.debounced, accepted.instance, accepted.id,
        !accepted.refused.empty(), said(accepted.claimed));
}

std::string said(const std::vector<ScheduleDecision>& decisions) {
    std::string text;
    for (const ScheduleDecision& one : decisions)
        text +=
            fmt::format("\n    schedule {} of {} {} {} times, at {}: {}", one.schedule,
                        one.workflow, to_string(one.outcome), one.count, one.at_ms, one.instance);
    return text;
}

std::string said(const std::vector<BreakerNews>& breakers) {
    std::string text;
    for (const BreakerNews& news : breakers)
        text += fmt::format("\n    breaker {} change {} {} {}", news.provider,
                            static_cast<int>(news.change), news.code, news.our_key);
    return text;
}

std::string said(const ClaimResult& result) {
    std::string text = fmt::format("solo {} next due {}", result.solo,
                                   result.next_due_ms ? *result.next_due_ms : -1);
    text += said(result.schedules) + said(result.breakers);
    for (const Claimed& claimed : result.claimed) text += "\n    " + said(claimed);
    return text;
}

std::string said(const OnceVerdict& once) {
    return fmt::format("verdict {} key {} request {} result {} first {} of {}",
                       static_cast<int>(once.kind), once.idempotency_key, said(once.request),
                       said(once.result), once.first_attempt_at_ms, once.instance_id);
}

std::string said(const Signalled& signalled) {
    return fmt::format("duplicate {} refused {}", signalled.duplicate, !signalled.refused.empty());
}

std::string said(const StepDecided& decided) {
    return fmt::format("refused {}", !decided.refused.empty());
}

std::string said(const std::optional<Awaited>& awaited) {
    if (!awaited) return "nothing";
    return fmt::format("{} {}", static_cast<int>(awaited->kind), said(awaited->payload));
}

std::string said(const std::optional<ChildEnd>& end) {
    if (!end) return "nothing";
    return fmt::format("{} {} {} {}", to_string(end->state), end->code, end->error,
                       said(end->output));
}

std::string said(const Advanced& advanced) {
    std::string text = "awaited " + said(advanced.awaited) + " child " + said(advanced.child_end) +
                       " " +
                       fmt::format(
                           "queued {} held back {} superseded by {} cancelled {} paused {} "
                           "once [{}] next {}",
                           advanced.queued, said(advanced.held_back),
                           advanced.superseded_by.value_or(0), advanced.cancelled, advanced.paused,
                           advanced.once ? said(*advanced.once) : "", said(advanced.next));
    for (const Entry& entry : advanced.written) text += "\n    " + said(entry);
    return text + said(advanced.schedules) + said(advanced.breakers);
}

// The reasons for skipping are words for people: whom is what counts, and a bulk resume also names
// those that wait, which the reference does not list.
std::string said(const Resumed& resumed) {
    std::string text = "resumed";
    for (const std::string& id : resumed.ids) text += " " + id;
    return text;
}

std::string said(const Cancelled& cancelled) {
    std::string text = "ended";
    for (const std::string& id : cancelled.ids) text += " " + id;
    text += ", asked";
    for (const std::string& id : cancelled.requested) text += " " + id;
    text += ", skipped";
    for (const Resumed::Skipped& skipped : cancelled.skipped) text += " " + skipped.id;
    return text;
}

std::string said(const Published& published) {
    std::string text = fmt::format("found {}", published.found);
    for (const PublishedValue& one : published.values)
        text += fmt::format(" [{} {} at {}]", one.name, said(one.value), one.at_ms);
    return text;
}

std::string said(const Moved& moved) {
    std::string text = "moved";
    for (const std::string& id : moved.ids) text += " " + id;
    text += ", still stuck";
    for (const std::string& id : moved.still_stuck) text += " " + id;
    text += ", skipped";
    for (const Resumed::Skipped& skipped : moved.skipped) text += " " + skipped.id;
    return text;
}

std::string said(const Renewed& renewed) {
    return fmt::format("lost {} asked to end {}", fmt::join(renewed.lost, " "),
                       fmt::join(renewed.asked_to_end, " "));
}

std::string said(const Operated& operated) {
    std::string text = "done to";
    for (const std::string& id : operated.ids) text += " " + id;
    text += ", asked";
    for (const std::string& id : operated.requested) text += " " + id;
    text += ", skipped";
    for (const Resumed::Skipped& skipped : operated.skipped) text += " " + skipped.id;
    return text;
}

std::string said(const Purged& purged) {
    return fmt::format("{} instances and {} events went", purged.instances, purged.events);
}
std::string said(const Forgotten& forgotten) {
    return fmt::format(
        "{} done {} before {}: {} events, {} instances, {} once keys, {} payloads; "
        "unfinished {}",
        forgotten.name, forgotten.done, forgotten.before, forgotten.events, forgotten.instances,
        forgotten.once_keys, forgotten.payloads, fmt::join(forgotten.unfinished, " "));
}
std::string said(const Rotated& rotated) {
    return fmt::format("{} keys rotated, {} left", rotated.done, rotated.left);
}
std::string said(const ScheduleChanged& changed) {
    return fmt::format("refused {} started '{}' next {}", !changed.refused.empty(),
                       changed.instance, changed.next_at_ms ? *changed.next_at_ms : -1);
}
std::string said(const ProviderChanged& changed) {
    return fmt::format("refused {} parked {}", !changed.refused.empty(), changed.parked);
}
std::string said(std::monostate) { return "done"; }

std::string told(const Advance& advance) {
    std::string text = fmt::format("advance #{} epoch {}", advance.instance, advance.epoch);
    for (const NewEntry& entry : advance.entries)
        text += fmt::format(" [{} {} {}]", to_string(entry.kind), entry.step, to_text(entry.data));
    if (!advance.calls.empty()) text += " calls " + advance.calls;
    if (advance.once_claim) text += " claims " + advance.once_claim->key;
    if (advance.once_settle) text += " settles " + advance.once_settle->key;
    if (advance.take_key) text += " takes key " + *advance.take_key;
    if (advance.await_signal) text += " waits for " + advance.await_signal->signal;
    if (advance.start_child)
        text += fmt::format(" starts {} ({})", advance.start_child->instance.id,
                            to_string(advance.start_child->on_close));
    if (advance.continue_as) text += " continues as new";
    if (advance.await_child) text += " waits for the end of " + advance.await_child->child;
    if (advance.to)
        text += fmt::format(
            " -> {} {} {}", to_string(advance.to->to), advance.to->error_code,
            advance.to->delay ? fmt::format("in {} ms", advance.to->delay->count()) : "");
    if (advance.lazy) text += " (lazy)";
    return text;
}

const char* word(StoreError::Kind kind) {
    switch (kind) {
        case StoreError::Kind::full:
            return "full";
        case StoreError::Kind::fenced:
            return "fenced";
        case StoreError::Kind::constraint:
            return "constraint";
        case StoreError::Kind::failed:
            return "failed";
        case StoreError::Kind::closed:
            return "closed";
    }
    return "";
}

template <class T>
using Value = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

template <class T>
Value<T> value_of(std::future<T>& future) {
    if constexpr (std::is_void_v<T>) {
        future.get();
        return {};
    } else {
        return future.get();
    }
}

}  // namespace

template <class T>
struct WatchedStore::ItemOf : Item {
    std::string what;
    std::future<T> real;
    std::function<T(Reference&)> predict;
    std::promise<T> promise;

    // What the reference says: an answer as text, or the kind of its refusal.
    std::string prediction(Reference& reference) {
        try {
            if constexpr (std::is_void_v<T>) {
                predict(reference);
                return "done";
            } else {
                return said(predict(reference));
            }
        } catch (const StoreError& error) {
            return std::string("refused: ") + word(error.kind());
        }
    }
    void apply(Reference& reference) override { prediction(reference); }

    void settle(WatchedStore& store) override {
        Watch& watch = store.watch_;
        std::string answer;
        try {
            Value<T> value = value_of(real);
            answer = said(value);
            if (store.dead_) watch.find("acknowledged_after_failure", what);
            if constexpr (std::is_void_v<T>)
                promise.set_value();
            else
                promise.set_value(std::move(value));
        } catch (const StoreError& error) {
            promise.set_exception(std::current_exception());
            answer = std::string("refused: ") + word(error.kind());
            if (error.kind() == StoreError::Kind::full) {
                watch.tell("  " + what + ": the disk is full");
                return;  // nothing of the batch was written
            }
            if (error.kind() == StoreError::Kind::failed ||
                error.kind() == StoreError::Kind::closed) {
                watch.tell("  " + what + ": " + error.what());
                store.died(what, error.what());
                return;
            }
        } catch (const std::future_error& error) {
            // The store that acknowledges too early has nobody left to tell.
            promise.set_exception(
                std::make_exception_ptr(StoreError(StoreError::Kind::failed, error.what())));
            store.died(what, error.what());
            return;
        }
        watch.tell("  " + what + (answer.starts_with("refused") ? ": " + answer : ""));
        const std::string expected = prediction(watch.truth());
        if (answer != expected)
            watch.find("answer", fmt::format("{}\n    the store:     {}\n    the reference: {}",
                                             what, answer, expected));
    }
};

template <class T>
std::future<T> WatchedStore::hand_in(std::string what, std::future<T> real,
                                     std::function<T(Reference&)> predict, bool lazy) {
    ++watch_.store_calls;
    auto item = std::make_unique<ItemOf<T>>();
    item->what = std::move(what);
    item->real = std::move(real);
    item->predict = std::move(predict);
    auto future = item->promise.get_future();
    handed_in_.push_back(std::move(item));
    if (!lazy) settle();
    return future;
}

void WatchedStore::settle() {
    Batch batch = std::move(handed_in_);
    handed_in_.clear();
    settling_ = &batch;
    for (auto& item : batch) item->settle(*this);
    settling_ = nullptr;
}

// The first that hears of the store's end: its batch may be on the disk, wholly or not at all.
void WatchedStore::died(const std::string&, const std::string&) {
    if (dead_) return;
    dead_ = true;
    Reference other = watch_.truth();
    for (auto& item : *settling_) item->apply(other);
    watch_.may_be(std::move(other));
}

std::future<Accepted> WatchedStore::accept(std::optional<NewEvent> event,
                                           std::optional<NewInstance> instance, bool claim) {
    std::string what = fmt::format("accept {} {}", event ? event->id : "no event",
                                   instance ? instance->id : "no instance");
    auto real = real_.accept(event, instance, claim);
    return hand_in<Accepted>(
        std::move(what), std::move(real),
        [this, event = std::move(event), instance = std::move(instance), claim](Reference& r) {
            return r.accept(owner_, watch_.now_ms(), event, instance, claim);
        },
        false);
}

std::future<ClaimResult> WatchedStore::claim(ClaimRequest request) {
    if (request.limit > 0 && claims_left_ <= 0) {
        std::promise<ClaimResult> nothing;
        nothing.set_value({});
        return nothing.get_future();
    }
    if (request.limit > 0) --claims_left_;
    return hand_in<ClaimResult>(
        fmt::format("claim {}", request.limit), real_.claim(request),
        [this, request](Reference& r) { return r.claim(owner_, watch_.now_ms(), request); }, false);
}

std::future<Advanced> WatchedStore::advance(Advance advance) {
    if (advance.to && advance.to->claim_next && --claims_left_ < 0) advance.to->claim_next = false;
    const bool lazy = advance.lazy;
    std::string what = watch_.telling ? told(advance) : "advance";
    auto real = real_.advance(advance);
    return hand_in<Advanced>(
        std::move(what), std::move(real),
        [this, advance = std::move(advance)](Reference& r) {
            return r.advance(owner_, watch_.now_ms(), advance);
        },
        lazy);
}

std::future<Renewed> WatchedStore::renew(std::vector<std::int64_t> instances) {
    auto real = real_.renew(instances);
    return hand_in<Renewed>(
        "renew", std::move(real),
        [this, instances = std::move(instances)](Reference& r) {
            return r.renew(owner_, watch_.now_ms(), instances);
        },
        false);
}

std::future<Resumed> WatchedStore::resume(ResumeRequest request) {
    auto real = real_.resume(request);
    std::string what = "resume";
    for (const std::string& id : request.ids) what += " " + id;
    return hand_in<Resumed>(
        std::move(what), std::move(real),
        [this, request = std::move(request)](Reference& r) {
            return r.resume(watch_.now_ms(), request);
        },
        false);
}

std::future<Purged> WatchedStore::purge(PurgeRequest request) {
    auto real = real_.purge(request);
    return hand_in<Purged>(
        "purge", std::move(real),
        [this, request = std::move(request)](Reference& r) {
            return r.purge(watch_.now_ms(), request);
        },
        false);
}

std::future<Signalled> WatchedStore::signal(SignalRequest request) {
    auto real = real_.signal(request);
    return hand_in<Signalled>(
        fmt::format("signal {} {} {}", request.instance, request.name, request.payload),
        std::move(real),
        [this, request = std::move(request)](Reference& r) {
            return r.signal(watch_.now_ms(), request);
        },
        false);
}

std::future<Cancelled> WatchedStore::cancel(CancelRequest request) {
    auto real = real_.cancel(request);
    std::string what = "cancel";
    for (const std::string& id : request.ids) what += " " + id;
    return hand_in<Cancelled>(
        std::move(what), std::move(real),
        [this, request = std::move(request)](Reference& r) {
            return r.cancel(owner_, watch_.now_ms(), request);
        },
        false);
}

std::future<StepDecided> WatchedStore::decide(StepDecision decision) {
    auto real = real_.decide(decision);
    std::string what = fmt::format("decide about {} of {}", decision.step, decision.instance);
    return hand_in<StepDecided>(
        std::move(what), std::move(real),
        [this, decision = std::move(decision)](Reference& r) {
            return r.decide(watch_.now_ms(), decision);
        },
        false);
}

std::future<Published> WatchedStore::published(std::string instance) {
    auto real = real_.published(instance);
    return hand_in<Published>(
        "what " + instance + " has published", std::move(real),
        [instance](Reference& r) { return r.published(instance); }, false);
}

std::future<Moved> WatchedStore::move(MoveRequest request) {
    auto real = real_.move(request);
    std::string what = fmt::format("move to version {}", request.to_version);
    for (const std::string& id : request.ids) what += " " + id;
    return hand_in<Moved>(
        std::move(what), std::move(real),
        [this, request = std::move(request)](Reference& r) {
            return r.move(owner_, watch_.now_ms(), request);
        },
        false);
}

std::future<Operated> WatchedStore::operate(OperateRequest operation) {
    auto real = real_.operate(operation);
    std::string what = fmt::format("{} {}", to_string(operation.kind), operation.step);
    for (const std::string& id : operation.ids) what += " " + id;
    return hand_in<Operated>(
        std::move(what), std::move(real),
        [this, operation = std::move(operation)](Reference& r) {
            return r.operate(owner_, watch_.now_ms(), operation);
        },
        false);
}

std::future<Forgotten> WatchedStore::forget(ForgetRequest request) {
    auto real = real_.forget(request);
    std::string what = fmt::format("forget {}{}", request.subject, request.plan ? " (plan)" : "");
    return hand_in<Forgotten>(
        std::move(what), std::move(real),
        [request = std::move(request)](Reference& r) { return r.forget(request); }, false);
}

std::future<bool> WatchedStore::sweep(bool rewrite) { return real_.sweep(rewrite); }

std::future<Rotated> WatchedStore::rotate_keys(RotateRequest request) {
    auto real = real_.rotate_keys(request);
    return hand_in<Rotated>(
        "rotate keys", std::move(real),
        [request = std::move(request)](Reference& r) { return r.rotate_keys(request); }, false);
}

std::future<void> WatchedStore::define_schedules(std::vector<Schedule> schedules) {
    auto real = real_.define_schedules(schedules);
    return hand_in<void>(
        fmt::format("define {} schedules", schedules.size()), std::move(real),
        [this, schedules](Reference& r) { r.define_schedules(watch_.now_ms(), schedules); }, false);
}

std::future<ScheduleChanged> WatchedStore::change_schedule(ScheduleChange change) {
    auto real = real_.change_schedule(change);
    return hand_in<ScheduleChanged>(
        fmt::format("{} schedule {}", to_string(change.kind), change.name), std::move(real),
        [this, change](Reference& r) { return r.change_schedule(owner_, watch_.now_ms(), change); },
        false);
}

std::future<ProviderChanged> WatchedStore::change_provider(ProviderChange change) {
    auto real = real_.change_provider(change);
    return hand_in<ProviderChanged>(
        fmt::format("{} provider {}", to_string(change.kind), change.provider), std::move(real),
        [this, change](Reference& r) { return r.change_provider(watch_.now_ms(), change); }, false);
}

void WatchedStore::flush() {
    real_.flush();
    settle();
}

}  // namespace steplog::testing
