// The built server under load, killed with SIGKILL again and again while Stripe goes on delivering:
// whatever was acknowledged is there, and every customer has one user, one e-mail and both links.
// STEPLOG_KILLS asks for more kills than the usual 200, STEPLOG_SEED for other moments.
#include <fmt/core.h>

#include <csignal>

#include "tests/storm/world.h"

namespace steplog::testing {
namespace {

class Kills : public StormWorld {};

TEST_F(Kills, LoseAndRepeatNothing) {
    const int kills = wanted("STEPLOG_KILLS", 200);
    const int seed = wanted("STEPLOG_SEED", 20261123);
    fmt::print("seed {}\n", seed);
    SeededRandom random(static_cast<std::uint64_t>(seed));
    const auto begin = SteadyClock::now();
    for (int kill = 0; kill < kills; ++kill) {
        start();
        ASSERT_TRUE(becomes_ready()) << log();
        buy(1);
        // A moment under load: after so many requests of its own, wherever it stands then.
        const int until = requests() + static_cast<int>(random.below(40));
        const auto deadline = SteadyClock::now() + Ms(random.below(300));
        while (requests() < until && SteadyClock::now() < deadline)
            ASSERT_TRUE(lives(Ms(random.below(4)))) << log();
        kill_server();
    }
    const std::chrono::duration<double> killing = SteadyClock::now() - begin;
    restart();
    // An instance that was running in five short lives in a row is taken for the cause of their
    // ends, rightly: a person resumes it.
    const int poisoned = settle_resuming("poison");
    EXPECT_LE(poisoned, kills / 20);
    const auto sum = expect_nothing_lost_or_repeated();
    EXPECT_GE(sum.acknowledged, customers() * 6);
    fmt::print(
        "{} kills in {:.1f} s: {} acknowledged deliveries, {} lost; {} customers, {} users, "
        "{} e-mails, {} effects and {} steps repeated; {} taken for poison and resumed\n",
        kills, killing.count(), sum.acknowledged, sum.lost, customers(), sum.users, sum.emails,
        sum.repeated_effects, sum.repeated_steps, poisoned);
}

}  // namespace
}  // namespace steplog::testing
