// The network between the server, its providers and Stripe fails, by nftables in a network
// namespace of the test's own: packets dropped, refused, dropped at random, limited, a link that is
// down. When it is well again every customer is provisioned, once. STEPLOG_NETWORKS asks for more
// than one round of each.
#include <fmt/core.h>
#include <sched.h>

#include <csignal>
#include <sstream>
#include <thread>

#include "tests/storm/mounts.h"

namespace steplog::testing {
namespace {

using namespace std::chrono_literals;

// {providers} and {server} are their ports.
struct Trouble {
    const char* name;
    std::vector<std::string> rules;
    bool link_down = false;
    int times = 1;  // comes and goes so often
};

const Trouble troubles[] = {
    {.name = "RequestsDropped", .rules = {"tcp dport {providers} counter drop"}},
    {.name = "AnswersDropped", .rules = {"tcp sport {providers} counter drop"}},
    {.name = "RequestsReset", .rules = {"tcp dport {providers} counter reject with tcp reset"}},
    {.name = "ProvidersUnreachable",
     .rules = {"tcp dport {providers} counter reject with icmp type host-unreachable"}},
    {.name = "AThirdDropped",
     .rules = {"tcp dport {providers} numgen random mod 100 < 30 counter drop",
               "tcp sport {providers} numgen random mod 100 < 30 counter drop"}},
    {.name = "RateLimited",
     .rules = {"tcp dport {providers} limit rate over 40/second burst 5 packets counter drop"}},
    {.name = "LinkDown", .rules = {}, .link_down = true},
    {.name = "AcknowledgementsDropped", .rules = {"tcp sport {server} counter drop"}},
    {.name = "AThirdOfEverythingDropped",
     .rules = {"tcp dport {{ {providers}, {server} }} numgen random mod 100 < 30 counter drop",
               "tcp sport {{ {providers}, {server} }} numgen random mod 100 < 30 counter drop"}},
    {.name = "LinkFlapping", .rules = {}, .link_down = true, .times = 8},
};

void ip(const Command& arguments) {
    Command command{"ip"};
    command.insert(command.end(), arguments.begin(), arguments.end());
    must_run(command);
}

class Networks : public StormWorld, public ::testing::WithParamInterface<Trouble> {
  protected:
    // Before the world, which listens, is made. The threads and processes that begin later are
    // there, too.
    static void SetUpTestSuite() {
        if (geteuid() != 0 || unshare(CLONE_NEWNET) != 0) return;
        ip({"link", "set", "lo", "up"});
        is_apart_ = true;
    }

    std::string cannot_run() const {
        if (auto why = missing(true, {"ip", "nft"}); !why.empty()) return why;
        return is_apart_ ? "" : "no network namespace of its own";
    }

    void begin_trouble(const Trouble& trouble) {
        if (trouble.link_down) return ip({"link", "set", "lo", "down"});
        must_run({"nft", "add table inet storm"});
        must_run({"nft", "add chain inet storm way { type filter hook output priority 0; }"});
        const std::string base = environment_["STRIPE_API_BASE"];
        const auto colon = base.rfind(':');
        const std::string providers = base.substr(colon + 1, base.find('/', colon) - colon - 1);
        for (const auto& rule : trouble.rules)
            must_run({"nft", "add rule inet storm way " +
                                 fmt::format(fmt::runtime(rule), fmt::arg("providers", providers),
                                             fmt::arg("server", port()))});
    }
    void end_trouble(const Trouble& trouble) {
        if (trouble.link_down) return ip({"link", "set", "lo", "up"});
        struck_ += packets_struck();
        must_run({"nft", "delete table inet storm"});
    }
    static int packets_struck() {
        std::istringstream words(
            run({"/bin/sh", "-c", "PATH=$PATH:/usr/sbin:/sbin nft list table inet storm"}).output);
        int sum = 0;
        for (std::string word; words >> word;) {
            int packets = 0;
            if (word == "packets" && words >> packets) sum += packets;
        }
        return sum;
    }

    static inline bool is_apart_ = false;
    int struck_ = 0;
};

TEST_P(Networks, InTroubleLoseAndRepeatNothing) {
    if (const auto why = cannot_run(); !why.empty()) GTEST_SKIP() << why;
    const int rounds = wanted("STEPLOG_NETWORKS", 1);
    const Trouble& trouble = GetParam();
    set("STEPLOG_HTTP_TIMEOUT", "1500ms");
    set("STEPLOG_CONNECT_TIMEOUT", "500ms");
    SeededRandom random(static_cast<std::uint64_t>(wanted("STEPLOG_SEED", 20261126)));
    restart();
    for (int round = 0; round < rounds; ++round) {
        for (int time = 0; time < trouble.times; ++time) {
            buy(trouble.times > 1 ? 1 : 5);
            ASSERT_TRUE(lives(Ms(random.below(80)))) << log();
            begin_trouble(trouble);
            buy(trouble.times > 1 ? 1 : 3);
            const auto completed = [&] {
                return count("SELECT count(*) FROM instances WHERE state='completed'");
            };
            const auto before = completed();
            ASSERT_TRUE(lives(trouble.times > 1 ? 250ms : 2500ms)) << log();
            if (trouble.link_down && trouble.times == 1) {
                EXPECT_LE(completed() - before, 1) << "it did not lose its link";
            }
            end_trouble(trouble);
            ASSERT_TRUE(lives(Ms(random.below(100)))) << log();
        }
        settle(60s);
    }
    EXPECT_TRUE(struck_ > 0 || trouble.link_down) << "no packet met the trouble";
    EXPECT_EQ(count("SELECT count(*) FROM instances WHERE deaths>0"), 0);
    const auto sum = expect_nothing_lost_or_repeated();
    fmt::print(
        "{}, {} times, {} packets struck: {} acknowledged, {} lost; {} customers, {} users, {} "
        "e-mails, {} effects repeated\n",
        trouble.name, rounds * trouble.times, struck_, sum.acknowledged, sum.lost, customers(),
        sum.users, sum.emails, sum.repeated_effects);
}

INSTANTIATE_TEST_SUITE_P(Of, Networks, ::testing::ValuesIn(troubles),
                         [](const auto& trouble) { return trouble.param.name; });

}  // namespace
}  // namespace steplog::testing
