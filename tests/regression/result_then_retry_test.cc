// A step's result was handed in, and then, for want of memory, telling of it threw. The exception
// was taken for the effect's own: a `retried` entry followed the `completed` one, replay made the
// step unfinished again, the effect happened twice, and its second result was refused by the
// constraint that no step finishes twice. What goes wrong behind the effect is no longer the
// step's.
#include <SQLiteCpp/SQLiteCpp.h>
#include <gtest/gtest.h>

#include <new>

#include "engine/engine.h"
#include "engine/sqlite_store.h"
#include "tests/support/manual_clock.h"
#include "tests/support/temporary_directory.h"

namespace steplog::testing {
namespace {

TEST(ResultThenRetry, DoesNotRepeatAStepWhoseTellingFailed) {
    const TemporaryDirectory directory;
    ManualClock clock;
    SeededRandom random(1);
    const auto store =
        open_sqlite_store({.database = directory / "test.db", .writer_thread = false}, clock);
    int effects = 0, told = 0;
    Registry registry;
    registry.add({.name = "order", .run = [&](Context& ctx, const Json&) {
                      return Json(ctx.step("pay", [&](const Attempt&) { return ++effects; }));
                  }});
    EngineOptions options{.workers = 0, .steps = {}};
    options.on_transition = [&](const Transitioned& transitioned) {
        if (std::string_view(transitioned.what) == "completed" && ++told == 1)
            throw std::bad_alloc();
    };
    Engine engine(*store, clock, random, std::move(registry), std::move(options));
    engine.accept(std::nullopt, NewInstance{.id = "order/1", .workflow = "order", .input = "{}"});
    engine.run_until_idle();
    while (const auto due = engine.next_due_ms()) {
        clock.set_ms(std::max(*due, clock.now_ms()));
        engine.run_until_idle();
    }
    EXPECT_EQ(effects, 1);
    SQLite::Database reader((directory / "test.db").string());
    EXPECT_EQ(reader.execAndGet("SELECT state FROM instances").getString(), "completed");
    EXPECT_EQ(reader.execAndGet("SELECT count(*) FROM entries WHERE step='pay'").getInt(), 2);
}

}  // namespace
}  // namespace steplog::testing
