#include "engine/engine.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>

#include "engine/entries.h"
#include "engine/hold.h"
#include "engine/worker.h"

namespace steplog {
namespace {

constexpr Ms poll_interval{1000};  // a wake-up is a hint, polling is the truth
constexpr Ms full_pause{500};      // between looks at a store without room

// "", or that it is near its limit.
std::string require_size(const std::string& what, std::size_t bytes, std::size_t bytes_max,
                         const char* name) {
    const auto size = static_cast<std::int64_t>(bytes),
               limit = static_cast<std::int64_t>(bytes_max);
    if (size > limit)
        throw StoreError(StoreError::Kind::constraint,
                         beyond_limit(what, size, "bytes", limit, name, large_remedy));
    if (!is_near(size, limit)) return "";
    return near_limit(what, size, "bytes", limit, name, large_remedy);
}

}  // namespace

struct Engine::Impl {
    Impl(Store& the_store, Clock& the_clock, Random& the_random, Registry the_registry,
         EngineOptions the_options)
        : store(the_store),
          clock(the_clock),
          registry(std::move(the_registry)),
          options(std::move(the_options)),
          flow(std::make_shared<const FlowPolicy>(options.flow)),
          surroundings{&store,
                       registry,
                       clock,
                       the_random,
                       options.steps,
                       options.on_transition,
                       options.workers > 0,
                       options.effects,
                       [this] {
                           const std::lock_guard lock(mutex);
                           look_soon();
                       },
                       draining.get_token(),
                       ending.get_token(),
                       flow,
                       &holds,
                       [this](Hold& hold) { heartbeat(hold); },
                       options.limits},
          worker(surroundings) {}

    Store& store;
    Clock& clock;
    const Registry registry;
    const EngineOptions options;
    const std::shared_ptr<const FlowPolicy> flow;
    std::stop_source draining;
    std::stop_source ending;
    Holds holds;
    const Surroundings surroundings;
    const Worker worker;

    std::mutex mutex;               // guards what follows
    std::condition_variable work;   // for workers: ready is not empty, or draining
    std::condition_variable look;   // for the dispatcher: look for due work, or draining
    std::condition_variable ended;  // a worker thread has ended
    std::deque<Claimed> ready;
    std::set<std::int64_t> held;  // seqs of ready and running instances: their leases are renewed
    int free = 0;                 // workers that neither run nor are promised an instance
    int alive = 0;
    bool look_now = false;
    bool solo = false;  // one instance has the house to itself, or waits for it
    std::optional<std::int64_t> next_due_ms;
    bool failed = false;

    std::vector<std::jthread> workers;
    std::jthread dispatcher;
    std::jthread renewer;

    void give(Claimed claimed) {
        held.insert(claimed.seq);
        ready.push_back(std::move(claimed));
        work.notify_one();
    }

    void fail(const std::string& reason) {
        {
            std::lock_guard lock(mutex);
            if (failed) return;
            failed = true;
        }
        if (options.on_fatal) options.on_fatal(reason);
    }

    void work_until_drained() {
        std::unique_lock lock(mutex);
        while (true) {
            work.wait(lock, [this] { return !ready.empty() || draining.stop_requested(); });
            if (ready.empty()) break;
            std::optional<Claimed> claimed = std::move(ready.front());
            ready.pop_front();
            while (claimed) {
                const std::int64_t seq = claimed->seq;
                lock.unlock();
                Worker::Ran ran = worker.run(std::move(*claimed));
                lock.lock();
                held.erase(seq);
                claimed = std::move(ran.next);
                if (claimed) held.insert(claimed->seq);
                const bool more_may_be_due = claimed && free > 0;
                const bool due_earlier =
                    ran.due_at_ms && (!next_due_ms || *ran.due_at_ms < *next_due_ms);
                if (more_may_be_due || due_earlier || solo) look_soon();
            }
            ++free;
        }
        --alive;
        ended.notify_all();
    }

    void look_soon() {
        look_now = true;
        look.notify_one();
    }

    void dispatch_until_drained() {
        std::unique_lock lock(mutex);
        while (!draining.stop_requested()) {
            look_now = false;
            const int busy = static_cast<int>(held.size());
            // With a suspect about, nothing is claimed beside it: it gets the house when all are
            // done.
            const int limit = solo && busy > 0 ? 0 : free;
            Ms pause = poll_interval;
            if (limit > 0) {
                free -= limit;
                lock.unlock();
                ClaimResult result;
                try {
                    result = store.claim({.limit = limit, .busy = busy, .flow = flow}).get();
                } catch (const StoreError& error) {
                    // A claim that is refused would be refused for ever, and nobody be claimed any
                    // more: the file is damaged, and a start says so.
                    if (error.kind() == StoreError::Kind::failed ||
                        error.kind() == StoreError::Kind::constraint)
                        fail(error.what());
                    pause = full_pause;
                }
                tell_schedules(surroundings, result.schedules);
                tell_breakers(surroundings, result.breakers);
                lock.lock();
                free += limit - static_cast<int>(result.claimed.size());
                for (Claimed& claimed : result.claimed) give(std::move(claimed));
                solo = result.solo;
                next_due_ms = result.next_due_ms;
            }
            if (next_due_ms && free > 0 && !solo) {
                const std::int64_t until = *next_due_ms - clock.now_ms();
                pause = std::clamp(Ms(until), Ms(1), pause);
            }
            look.wait_for(lock, pause, [this] { return look_now || draining.stop_requested(); });
        }
    }

    void renew_until_stopped(const std::stop_token& stop) {
        std::condition_variable_any wakeup;
        std::unique_lock lock(mutex);
        while (!wakeup.wait_for(lock, stop, options.lease / 3,
                                [&] { return stop.stop_requested(); })) {
            if (held.empty()) continue;
            std::vector<std::int64_t> seqs(held.begin(), held.end());
            lock.unlock();
            renew(std::move(seqs));
            lock.lock();
        }
    }

    // The holds are those from before it was asked: what has been claimed since is not meant.
    void renew(std::vector<std::int64_t> seqs) {
        const auto running = holds.all();
        try {
            const Renewed renewed = store.renew(std::move(seqs)).get();
            const auto is_in = [](const std::vector<std::int64_t>& some, const Hold& hold) {
                return std::find(some.begin(), some.end(), hold.seq()) != some.end();
            };
            for (const auto& hold : running) {
                if (is_in(renewed.lost, *hold)) hold->lose();
                if (is_in(renewed.asked_to_end, *hold)) hold->ask_to_end();
            }
        } catch (const StoreError& error) {
            // Without room the leases run out on paper only: no other owner can have the file.
            if (error.kind() == StoreError::Kind::failed) fail(error.what());
        }
    }

    void heartbeat(Hold& hold) {
        if (hold.wants_renewal(clock.now_ms(), options.lease / 10)) renew({hold.seq()});
    }

    // Somebody wants instances to end, and their children with them: who runs is told at once.
    void tell_running() {
        std::vector<std::int64_t> seqs;
        for (const auto& hold : holds.all()) seqs.push_back(hold->seq());
        if (!seqs.empty()) renew(std::move(seqs));
    }

    void warn(const NewInstance& instance, const std::string& near) const {
        if (!near.empty() && options.on_transition)
            options.on_transition({.instance = instance.id,
                                   .workflow = instance.workflow,
                                   .what = "near_limit",
                                   .error = near});
    }

    bool promise_worker() {
        std::lock_guard lock(mutex);
        if (free <= 0 || solo || draining.stop_requested()) return false;
        --free;
        return true;
    }
};

Engine::Engine(Store& store, Clock& clock, Random& random, Registry registry, EngineOptions options)
    : impl_(std::make_unique<Impl>(store, clock, random, std::move(registry), std::move(options))) {
}

Engine::~Engine() { stop(Ms(0)); }

void Engine::start() {
    Impl& engine = *impl_;
    std::lock_guard lock(engine.mutex);
    engine.free = engine.alive = engine.options.workers;
    for (int i = 0; i < engine.options.workers; ++i)
        engine.workers.emplace_back([&engine] { engine.work_until_drained(); });
    engine.dispatcher = std::jthread([&engine] { engine.dispatch_until_drained(); });
    engine.renewer =
        std::jthread([&engine](std::stop_token stop) { engine.renew_until_stopped(stop); });
}

void Engine::schedule(std::vector<Schedule> schedules) {
    std::set<std::string> names;
    for (Schedule& schedule : schedules) {
        require_valid(schedule);
        schedule.version = impl_->registry.version_for(schedule.workflow, schedule.version);
        const auto wrong = [&](const std::string& what) {
            throw std::invalid_argument("schedule " + schedule.name + ": " + what);
        };
        if (!names.insert(schedule.name).second) wrong("it is defined twice");
        if (!impl_->registry.find(schedule.workflow, schedule.version))
            wrong("there is no version " + std::to_string(schedule.version) + " of workflow " +
                  schedule.workflow + " in this program");
    }
    for (const Schedule& schedule : schedules)
        if (to_text(schedule.input).size() > impl_->options.limits.input_bytes_max)
            throw std::invalid_argument("schedule " + schedule.name +
                                        ": its input is larger than input_bytes_max");
    impl_->store.define_schedules(std::move(schedules)).get();
    wake();
}

Accepted Engine::accept(std::optional<NewEvent> event, std::optional<NewInstance> instance) {
    if (stopping()) throw StoreError(StoreError::Kind::closed, "the engine is stopping");
    if (instance)
        instance->version = impl_->registry.version_for(instance->workflow, instance->version);
    if (instance && instance->input)
        impl_->warn(*instance,
                    require_size("its input", instance->input->size(),
                                 impl_->options.limits.input_bytes_max, "input_bytes_max"));
    if (instance)
        instance->key_holders_max = impl_->flow->of_workflow(instance->workflow).key_holders_max;
    // What is limited is claimed like what has waited: that is where it is counted.
    const bool limited = instance && impl_->flow->limits_workflow(instance->workflow);
    const bool replaces = instance && (instance->id_conflict == IdConflict::replace ||
                                       instance->key_conflict == KeyConflict::replace);
    const bool later =
        instance && (instance->start_at_ms || instance->debounce || instance->delay > Ms(0));
    const bool promised = instance && !limited && impl_->promise_worker();
    const auto take_back = [&] {
        if (!promised) return;
        std::lock_guard lock(impl_->mutex);
        ++impl_->free;
    };
    Accepted accepted;
    try {
        accepted = impl_->store.accept(std::move(event), std::move(instance), promised).get();
    } catch (const StoreError& error) {
        take_back();
        if (error.kind() == StoreError::Kind::failed) impl_->fail(error.what());
        throw;
    } catch (...) {
        take_back();  // no memory to hand it in with: nothing was written
        throw;
    }
    std::unique_lock lock(impl_->mutex);
    if (accepted.claimed) {
        try {
            impl_->give(std::move(*accepted.claimed));
        } catch (...) {
            // Claimed by us and held by nobody: only another life would take it.
            lock.unlock();
            impl_->fail("there is no memory left");
            throw;
        }
        accepted.claimed.reset();
    } else if (promised) {
        ++impl_->free;
        if (later) impl_->look_soon();  // what is due next may be this one
    } else if (!accepted.duplicate && impl_->free > 0) {
        impl_->look_soon();
    }
    lock.unlock();
    if (replaces) impl_->tell_running();
    return accepted;
}

Resumed Engine::resume(ResumeRequest request) {
    Resumed resumed = impl_->store.resume(std::move(request)).get();
    wake();
    return resumed;
}

Cancelled Engine::cancel(CancelRequest request) {
    Cancelled cancelled = impl_->store.cancel(std::move(request)).get();
    impl_->tell_running();
    wake();
    return cancelled;
}

Signalled Engine::signal(SignalRequest request) {
    impl_->warn({.id = request.instance, .workflow = ""},
                require_size("the signal " + request.name, request.payload.size(),
                             impl_->options.limits.signal_bytes_max, "signal_bytes_max"));
    Signalled signalled = impl_->store.signal(std::move(request)).get();
    wake();
    return signalled;
}

std::optional<std::map<std::string, Json>> Engine::published(const std::string& instance) {
    const Published published = impl_->store.published(instance).get();
    if (!published.found) return std::nullopt;
    std::map<std::string, Json> values;
    for (const PublishedValue& one : published.values)
        values[one.name] = one.value ? parse_stored(*one.value) : Json();
    return values;
}

Moved Engine::move(MoveRequest request) {
    request.workflows = impl_->registry.with_version(request.to_version);
    Moved moved = impl_->store.move(std::move(request)).get();
    wake();
    return moved;
}

Json Engine::write_json(Change change) {
    try {
        return parse_stored(impl_->store.write(std::move(change)).get());
    } catch (const ChangeThrew& error) {
        error.rethrow();
    }
}

Operated Engine::operate(OperateRequest operation) {
    Operated operated = impl_->store.operate(std::move(operation)).get();
    wake();
    return operated;
}

void Engine::wake() {
    std::lock_guard lock(impl_->mutex);
    impl_->look_soon();
}

bool Engine::stop(Ms grace) {
    Impl& engine = *impl_;
    engine.draining.request_stop();
    {
        std::lock_guard lock(engine.mutex);
        engine.work.notify_all();
        engine.look.notify_all();
    }
    if (engine.dispatcher.joinable()) engine.dispatcher.join();
    {
        std::unique_lock lock(engine.mutex);
        const auto all_ended = [&engine] { return engine.alive == 0; };
        // The last tenth of the grace is for those that must be asked to end.
        const Ms last = std::clamp(grace / 10, Ms(1000), Ms(2000));
        if (!engine.ended.wait_for(lock, std::max(grace - last, Ms(0)), all_ended)) {
            engine.ending.request_stop();
            if (!engine.ended.wait_for(lock, last, all_ended)) return false;
        }
    }
    engine.workers.clear();
    engine.renewer = {};
    return true;
}

bool Engine::stopping() const { return impl_->draining.stop_requested(); }

int Engine::run_until_idle() {
    int ran = 0;
    while (true) {
        ClaimResult due = impl_->store.claim({.limit = 1, .busy = 0, .flow = impl_->flow}).get();
        tell_schedules(impl_->surroundings, due.schedules);
        tell_breakers(impl_->surroundings, due.breakers);
        if (due.claimed.empty()) {
            // What was due has ended in the claim itself, cancelled or as poison: look at the next.
            if (due.next_due_ms && *due.next_due_ms <= impl_->clock.now_ms()) continue;
            return ran;
        }
        std::optional<Claimed> claimed = std::move(due.claimed.front());
        while (claimed) {
            ++ran;
            claimed = impl_->worker.run(std::move(*claimed)).next;
        }
    }
}

std::optional<std::int64_t> Engine::next_due_ms() {
    return impl_->store.claim({.limit = 0, .busy = 0, .flow = impl_->flow}).get().next_due_ms;
}

const Registry& Engine::registry() const { return impl_->registry; }

Store& Engine::store() const { return impl_->store; }

}  // namespace steplog
