// Runs one order as a service would: worker threads, the machine's clock, a database that stays.
// Open this one first.
#include "engine/examples/order.h"

#include <fmt/core.h>

#include <future>

#include "engine/engine.h"
#include "engine/sqlite_store.h"
#include "engine/testing/temporary_directory.h"

int main() {
    using namespace steplog;
    const testing::TemporaryDirectory directory;  // yours has a path that a restart finds again
    SystemClock clock;
    SystemRandom random;
    const auto store = open_sqlite_store({.database = directory / "orders.db"}, clock);

    examples::Shop shop;
    Registry registry;
    registry.add(examples::order_workflow(shop));

    std::promise<void> finished;
    EngineOptions options{.workers = 4};
    options.on_transition = [&](const Transitioned& what) {
        fmt::print("{}: {} {}\n", what.instance, what.step, what.what);
        if (what.what == "finished") finished.set_value();
    };
    // A service logs the sentence that it is given here, and ends: what is on the disk is whole.
    options.on_fatal = [](const std::string& why) { fmt::print(stderr, "{}\n", why); };
    Engine engine(*store, clock, random, std::move(registry), std::move(options));
    engine.start();

    // Durable when accept returns. The id names the order for ever: who is not sure whether this
    // went through says it again, and nothing happens twice.
    const Json input = {{"order", "1001"}, {"cents", 4'900}};
    for (int again = 0; again < 2; ++again)
        engine.accept(std::nullopt,
                      NewInstance{.id = "order/1001", .workflow = "order", .input = input.dump()});
    finished.get_future().wait();

    // What still runs gets so long to end; the rest is gone on with after the next start.
    engine.stop(std::chrono::seconds(5));
    fmt::print("{} charge, {} parcel, {} mail\n", shop.charges.size(), shop.parcels.size(),
               shop.mails.size());
}
