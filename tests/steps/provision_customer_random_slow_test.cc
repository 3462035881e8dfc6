// The flagship workflow among faults at random: purchases whose events come in any order and
// number, requests that fail in any way, a server that ends in between. Each purchase comes to one
// account, both links and one e-mail, and no effect is done twice under one key. STEPLOG_FAULT_RUNS
// asks for more than the usual 500 purchases; a failure prints its seed.
#include <fmt/core.h>

#include <cstdlib>

#include "tests/steps/provision_world.h"

namespace steplog::steps {
namespace {

using sandbox::Fault;
using sandbox::FaultKind;

const std::vector<FaultKind> kinds = {
    FaultKind::down,         FaultKind::slow,         FaultKind::hang,    FaultKind::status,
    FaultKind::rate_limited, FaultKind::unauthorized, FaultKind::reset,   FaultKind::lost_answer,
    FaultKind::truncated,    FaultKind::garbage,      FaultKind::interim, FaultKind::interim_only,
    FaultKind::oversized};
const std::vector<std::string> routes = {"GET /v1/customers/*",     "GET /v1/users*",
                                         "POST /v1/users*",         "POST /v1/customers/*",
                                         "GET /v1/subscriptions/*", "POST /v1/subscriptions/*",
                                         "POST /emails*",           "*"};
const std::vector<int> statuses = {302, 409, 425, 500, 502, 503, 504, 529};
constexpr int purchases_per_world = 10;

long wanted_runs() {
    const char* text = std::getenv("STEPLOG_FAULT_RUNS");
    return text && *text ? std::atol(text) : 500;
}
std::uint64_t first_seed() {
    const char* text = std::getenv("STEPLOG_SEED");
    return text && *text ? std::strtoull(text, nullptr, 10) : 20261126;
}

class RandomFaults : public testing::ProvisionWorld {
  public:
    explicit RandomFaults(std::uint64_t seed) : dice_(seed) {}

    void one_purchase(int number) {
        const auto purchase = world.purchase({.email = fmt::format("buyer{}@example.com", number)});
        for (auto faults = 1 + dice_.below(4); faults > 0; --faults) world.add_fault(any_fault());
        auto events = purchase.events;
        for (std::size_t i = events.size(); i > 1; --i)
            std::swap(events[i - 1], events[dice_.below(i)]);
        std::vector<std::string> ids;
        for (const auto& event : events) {
            if (auto id = accept(event.body); !id.empty()) ids.push_back(id);
            if (dice_.below(3) == 0) engine->run_until_idle();
            if (dice_.below(20) == 0) open();
        }
        run(std::chrono::hours(6));
        world.clear_faults();
        run(std::chrono::hours(6));
        for (const auto& id : ids)
            EXPECT_EQ(last(id).what, "finished") << last(id).error_code << " " << last(id).error;
        ASSERT_EQ(world.users().size(), static_cast<std::size_t>(number));
        expect_linked(*world.users().back(), purchase);
        EXPECT_EQ(world.emails().size(), static_cast<std::size_t>(number));
        transitions.clear();
    }
    int effects() {
        int sum = 0;
        for (const auto& [key, count] : world.effects()) {
            EXPECT_EQ(count, 1) << key;
            sum += count;
        }
        return sum;
    }

    long requests() const {
        long sum = 0;
        for (const auto& [route, times] : world.requests()) sum += times;
        return sum;
    }

  private:
    void TestBody() override {}
    Fault any_fault() {
        const FaultKind kind = kinds[dice_.below(kinds.size())];
        return {.kind = kind,
                .provider = {},
                .route = routes[dice_.below(routes.size())],
                .times = static_cast<int>(1 + dice_.below(3)),
                .status = statuses[dice_.below(statuses.size())],
                .effect = {},
                .delay = kind == FaultKind::slow ? Ms(dice_.below(60'000)) : Ms(0),
                .retry_after_s = {}};
    }

    testing::SeededRandom dice_;
};

TEST(ProvisionCustomer, SurvivesRandomFaultsWithEveryEffectOnce) {
    const long runs = wanted_runs();
    std::uint64_t seed = first_seed();
    fmt::print("seed {}\n", seed);
    long done = 0, requests = 0, effects = 0;
    for (; done < runs; ++seed) {
        SCOPED_TRACE(
            fmt::format("STEPLOG_SEED={} STEPLOG_FAULT_RUNS={}", seed, purchases_per_world));
        RandomFaults house(seed);
        for (int number = 1; number <= purchases_per_world; ++number, ++done)
            ASSERT_NO_FATAL_FAILURE(house.one_purchase(number));
        effects += house.effects();
        requests += house.requests();
        if (::testing::Test::HasFailure()) break;
    }
    fmt::print("{} purchases among random faults: {} requests, {} effects, each once\n", done,
               requests, effects);
}

}  // namespace
}  // namespace steplog::steps
