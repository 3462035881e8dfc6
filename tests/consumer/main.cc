// Embeds the engine: one greeting, run by a worker thread; exits 0 when the database says that it
// was completed.
#include <steplog/engine/engine.h>
#include <steplog/engine/inspect.h>
#include <steplog/engine/sqlite_store.h>

#include <cstdio>
#include <future>

#include "engine/clock.h"
#include "greeting.h"

int main(int argc, char** argv) {
    if (argc != 2 || cylinders() != 4) return 2;
    using namespace steplog;
    SystemClock clock;
    SystemRandom random;
    const auto store = open_sqlite_store({.database = argv[1], .program = "consumer"}, clock);
    Registry registry;
    registry.add(greeting());

    std::promise<void> finished;
    EngineOptions options{.workers = 2};
    options.on_transition = [&](const Transitioned& transition) {
        if (transition.what == "finished") finished.set_value();
    };
    Engine engine(*store, clock, random, std::move(registry), std::move(options));
    engine.start();
    const Json input = {{"name", "ada"}};
    engine.accept(std::nullopt,
                  NewInstance{.id = "greeting/1", .workflow = "greeting", .input = input.dump()});
    const bool in_time =
        finished.get_future().wait_for(std::chrono::minutes(1)) == std::future_status::ready;
    engine.stop(std::chrono::seconds(5));

    const InstanceDetail detail = Inspector(argv[1], clock).show("greeting/1");
    std::printf("greeting/1 is %s: %s\n", std::string(to_string(detail.row.state)).c_str(),
                detail.output.text.value_or("without output").c_str());
    return in_time && detail.row.state == State::completed ? 0 : 1;
}
