// A thousand invoices, sixteen at a time, with worker threads and the machine's clock.
#include "engine/examples/fan_out.h"

#include <fmt/core.h>

#include <future>

#include "engine/engine.h"
#include "engine/inspect.h"
#include "engine/sqlite_store.h"
#include "engine/testing/temporary_directory.h"

int main() {
    using namespace steplog;
    const testing::TemporaryDirectory directory;
    const auto database = directory / "invoices.db";
    SystemClock clock;
    SystemRandom random;
    const auto store = open_sqlite_store({.database = database}, clock);

    examples::Billing billing(1'000);
    Registry registry;
    registry.add(examples::invoices_workflow(billing));

    std::promise<std::int64_t> finished;
    EngineOptions options{.workers = 2};
    options.on_transition = [&](const Transitioned& what) {
        if (what.what == "finished") finished.set_value(what.took_ms);
    };
    Engine engine(*store, clock, random, std::move(registry), std::move(options));
    engine.start();
    engine.accept(std::nullopt,
                  NewInstance{.id = "invoices/2026-03", .workflow = "invoices", .input = "{}"});
    const std::int64_t took_ms = finished.get_future().get();
    engine.stop(std::chrono::seconds(5));

    const auto detail = Inspector(database, clock).show("invoices/2026-03");
    fmt::print("{} in {} ms, {} log entries; the billing service has {} invoices\n",
               detail.output.text.value_or("not completed"), took_ms, detail.row.log_length,
               billing.invoices());
}
