#include "tools/bench/house.h"

#include <fmt/format.h>

namespace steplog::bench {
namespace {

constexpr std::uint64_t scatter = 0x9e3779b97f4a7c15ull;  // providers' ids come in no order

}  // namespace

House::House(Settings settings) {
    store_ = open_sqlite_store({.database = settings.database,
                                .program = "workflow-bench",
                                .on_commit =
                                    [this](std::size_t items, std::chrono::microseconds) {
                                        ++commits_;
                                        items_ += items;
                                    }},
                               clock_);
    Registry registry;
    registry.add({.name = "bench",
                  .run = [steps = settings.steps, in_step = std::move(settings.in_step)](
                             Context& ctx, const Json&) {
                      for (int i = 1; i <= steps; ++i)
                          ctx.step(fmt::format("step_{}", i), [&](const Attempt&) {
                              if (in_step) in_step();
                              return nullptr;
                          });
                      return Json();
                  }});
    EngineOptions options;
    options.workers = settings.workers;
    options.on_transition = std::move(settings.on_transition);
    engine_ =
        std::make_unique<Engine>(*store_, clock_, random_, std::move(registry), std::move(options));
}

House::~House() { engine_->stop(std::chrono::seconds(5)); }

NewEvent House::event(const std::string& id, std::string body) {
    return {.source = "bench", .id = id, .type = "bench", .body = std::move(body)};
}

NewInstance House::instance(const std::string& id) {
    return {.id = "bench/" + id, .workflow = "bench"};
}

std::string event_id(std::uint64_t number) { return fmt::format("evt_{:024x}", number * scatter); }

}  // namespace steplog::bench
