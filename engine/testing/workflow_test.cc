#include "engine/testing/workflow_test.h"

#include <fmt/format.h>

#include <cstdlib>

#include "engine/engine.h"
#include "engine/inspect.h"
#include "engine/run_id.h"
#include "engine/sqlite_store.h"
#include "engine/testing/manual_clock.h"
#include "engine/testing/mortal_store.h"
#include "engine/testing/temporary_directory.h"

namespace steplog::testing {
namespace {

const std::string instance = "test";

bool counts_on_keys(const StepOptions& options) {
    return options.idempotency_window > Ms(0) || !options.once.empty();
}

}  // namespace

// One run: the world, and the lives of the process in it.
class Play : public EffectSeam {
  public:
    Play(const WorkflowTest& test, int crash_at)
        : test_(test), death_(database_, directory_ / "kept.db", crash_at) {}

    Ended run(const Json& input) {
        test_.before_each_();
        const std::int64_t start_ms = clock_.now_ms();
        live(input);
        if (death_.has_come()) {
            death_.start_anew();
            live(input);
        }
        ended_.took = Ms(clock_.now_ms() - start_ms);
        for (auto& [step, keys] : keys_)
            ended_.effects[step].times += static_cast<int>(keys.size());
        return ended_;
    }
    const Death& death() const { return death_; }

    Json call(const std::string& step, const StepOptions& options, const Attempt& attempt,
              const std::function<Json(const Attempt&)>& effect) override {
        const std::string name = named(step, attempt);
        death_.pass("before the effect of " + name);
        ++ended_.effects[name].calls;
        const auto fake = test_.fakes_.find(step);
        const auto known = returned_.find(attempt.idempotency_key);
        Json result;
        if (fake != test_.fakes_.end() && counts_on_keys(options) && known != returned_.end())
            result = known->second;
        else
            result = fake != test_.fakes_.end() ? fake->second(attempt) : effect(attempt);
        returned_.insert_or_assign(attempt.idempotency_key, result);
        ++ended_.effects[name].returned;
        if (counts_on_keys(options))
            keys_[name].insert(attempt.idempotency_key);
        else
            ++ended_.effects[name].times;
        death_.pass("after the effect of " + name);
        return result;
    }
    std::optional<Json> look(const std::string& step, const StepOptions& options,
                             const Attempt& attempt) override {
        if (!test_.fakes_.contains(step)) return options.probe(attempt);
        const auto known = returned_.find(attempt.idempotency_key);
        if (known == returned_.end()) return std::nullopt;
        return known->second;
    }

  private:
    static std::string named(const std::string& step, const Attempt& attempt) {
        return attempt.instance_id == instance ? step : attempt.instance_id + ": " + step;
    }

    // From the start of a process to the end of the run, or to its death.
    void live(const Json& input) {
        auto store = open_sqlite_store(
            {.database = database_, .writer_thread = false, .reserve_bytes = 0}, clock_);
        MortalStore mortal(*store, death_);
        EngineOptions options{
            .workers = 0, .steps = test_.defaults_, .flow = test_.flow_, .effects = this};
        Engine engine(mortal, clock_, random_, registry(), std::move(options));
        try {
            const std::string& workflow = test_.workflows_.front().name;
            const int version = test_.workflows_.front().version;
            engine.accept(std::nullopt, NewInstance{.id = instance,
                                                    .workflow = workflow,
                                                    .version = version,
                                                    .input = input.dump()});
            go_on(engine);
        } catch (const StoreError&) {
            if (!death_.has_come()) throw;
        }
    }

    void go_on(Engine& engine) {
        std::size_t sent = 0;
        engine.run_until_idle();
        while (true) {
            const auto due = engine.next_due_ms();
            if (sent < test_.signals_.size()) {
                const auto& [name, payload] = test_.signals_[sent];
                engine.signal({.instance = instance,
                               .name = name,
                               .payload = payload.dump(),
                               .dedupe_id = std::to_string(++sent)});
            } else if (due) {
                clock_.set_ms(std::max(*due, clock_.now_ms()));
            } else {
                break;
            }
            engine.run_until_idle();
        }
        const InstanceRow row = Inspector(database_, clock_).find(instance);
        ended_.state = row.state;
        ended_.error_code = row.error_code;
        ended_.error = row.error;
        ended_.step = row.step;
    }

    Registry registry() {
        Registry registry;
        for (Workflow workflow : test_.workflows_) {
            if (workflow.name == test_.workflows_.front().name)
                workflow.run = [this, run = workflow.run](Context& ctx, const Json& input) {
                    Json output = run(ctx, input);
                    if (first_run(ctx.instance_id()) == instance) ended_.output = output;
                    return output;
                };
            registry.add(std::move(workflow));
        }
        return registry;
    }

    const WorkflowTest& test_;
    TemporaryDirectory directory_;
    const std::filesystem::path database_ = directory_ / "test.db";
    ManualClock clock_;
    SeededRandom random_{1};
    Death death_;
    Ended ended_;
    std::map<std::string, Json> returned_;  // by idempotency key
    std::map<std::string, std::set<std::string>> keys_;
};

WorkflowTest& WorkflowTest::with(Workflow workflow) {
    workflows_.push_back(std::move(workflow));
    return *this;
}
WorkflowTest& WorkflowTest::fake(const std::string& step, Effect effect) {
    fakes_[step] = std::move(effect);
    return *this;
}
WorkflowTest& WorkflowTest::signal(const std::string& name, const Json& payload) {
    signals_.emplace_back(name, payload);
    return *this;
}
WorkflowTest& WorkflowTest::may_repeat(const std::string& step) {
    may_repeat_.insert(step);
    return *this;
}
WorkflowTest& WorkflowTest::defaults(const StepDefaults& defaults) {
    defaults_ = defaults;
    return *this;
}
WorkflowTest& WorkflowTest::flow(const FlowPolicy& flow) {
    flow_ = flow;
    return *this;
}

WorkflowTest& WorkflowTest::before_each(std::function<void()> reset) {
    before_each_ = std::move(reset);
    return *this;
}

Ended WorkflowTest::run(const Json& input) const { return Play(*this, 0).run(input); }

Crashes WorkflowTest::crash_everywhere(const Json& input) const {
    Crashes crashes;
    Play first(*this, 0);
    const Ended expected = first.run(input);
    const int places = first.death().places();
    if (expected.state == State::stuck)
        crashes.failure = fmt::format("without any crash it gets stuck at {} ({}): {}",
                                      expected.step, expected.error_code, expected.error);
    else if (expected.state == State::waiting)
        crashes.failure = fmt::format("without any crash it waits for ever at {}: send its signal",
                                      expected.step);
    const char* only = std::getenv("STEPLOG_CRASH_AT");
    const int from = only ? std::max(std::atoi(only), 1) : 1;
    for (int at = from; at <= (only ? from : places) && crashes.failure.empty(); ++at) {
        Play play(*this, at);
        const std::string what = judge(expected, play.run(input));
        ++crashes.places;
        if (!what.empty())
            crashes.failure = fmt::format("died at place {} of {}, {}: {}; STEPLOG_CRASH_AT={}", at,
                                          places, play.death().where(), what, at);
    }
    return crashes;
}

std::string WorkflowTest::judge(const Ended& first, const Ended& ended) const {
    if (ended.state != first.state)
        return fmt::format("it is {} instead of {}{}", to_string(ended.state),
                           to_string(first.state),
                           ended.error.empty() ? "" : fmt::format(" ({})", ended.error));
    for (const auto& [step, happened] : first.effects)
        if (!ended.effects.contains(step)) return fmt::format("{} did not happen", step);
    for (const auto& [step, happened] : ended.effects) {
        const auto before = first.effects.find(step);
        if (before == first.effects.end())
            return fmt::format("{} happened, which does not happen without a crash", step);
        if (happened.times > before->second.times && !may_repeat_.contains(step))
            return fmt::format(
                "{} happened {} times: give it a probe, or an idempotency_window if "
                "its provider honours keys",
                step, happened.times);
    }
    return {};
}

}  // namespace steplog::testing
