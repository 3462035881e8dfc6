// Where the examples run whose workflows take days: a whole engine in one thread, on a clock that
// jumps from one due time to the next, and a line for everything that happens. A service has
// threads and the machine's clock instead: order.cc.
#pragma once

#include <fmt/format.h>

#include <memory>

#include "engine/engine.h"
#include "engine/inspect.h"
#include "engine/rfc3339.h"
#include "engine/sqlite_store.h"
#include "engine/testing/manual_clock.h"
#include "engine/testing/temporary_directory.h"

namespace steplog::examples {

class Stage {
  public:
    /// `begins`: RFC 3339.
    Stage(const std::string& begins, Workflow workflow)
        : clock_(parse_rfc3339(begins).value()),
          store_(open_sqlite_store(
              {.database = database_, .writer_thread = false, .reserve_bytes = 0}, clock_)) {
        Registry registry;
        registry.add(std::move(workflow));
        EngineOptions options{.workers = 0};
        options.on_transition = [this](const Transitioned& what) { tell(what); };
        engine_ = std::make_unique<Engine>(*store_, clock_, random_, std::move(registry),
                                           std::move(options));
    }

    Engine& engine() { return *engine_; }

    void start(const std::string& id, const std::string& workflow, const Json& input) {
        engine_->accept(std::nullopt,
                        NewInstance{.id = id, .workflow = workflow, .input = input.dump()});
    }

    /// Lets time pass until that moment, stopping wherever something is due.
    void play_until(const std::string& moment) {
        const std::int64_t end_ms = parse_rfc3339(moment).value();
        engine_->run_until_idle();
        for (auto due = engine_->next_due_ms(); due && *due <= end_ms;
             due = engine_->next_due_ms()) {
            clock_.set_ms(std::max(*due, clock_.now_ms()));
            engine_->run_until_idle();
        }
        clock_.set_ms(end_ms);
    }

    /// The output of a completed instance; the state of any other, and why.
    std::string outcome(const std::string& id) const {
        const InstanceDetail detail = Inspector(database_, clock_).show(id);
        if (detail.output.text) return *detail.output.text;
        return fmt::format("{}, {}", to_string(detail.row.state), detail.row.error);
    }

  private:
    void tell(const Transitioned& what) const {
        fmt::print("{}  {}: {} {}\n", format_rfc3339(clock_.now_ms()).substr(0, 16), what.instance,
                   what.step, what.what);
    }

    testing::TemporaryDirectory directory_;
    const std::filesystem::path database_ = directory_ / "example.db";
    testing::ManualClock clock_;
    SystemRandom random_;
    std::unique_ptr<Store> store_;
    std::unique_ptr<Engine> engine_;
};

}  // namespace steplog::examples
