// The world that the storms rage in: the built server at a fixed address, a sandbox on real sockets
// that goes on delivering until it is answered 200, customers who buy, and the reckoning at the
// end: whatever was acknowledged is there, and every customer has one account, one e-mail and both
// links, each effect done once. One test at a time for each object.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "tests/support/manual_clock.h"
#include "tests/support/process.h"
#include "tests/support/temporary_directory.h"
#include "tools/sandbox/service.h"

namespace steplog::testing {

using Command = std::vector<std::string>;
using SteadyClock = std::chrono::steady_clock;

inline const std::string server_program = STEPLOG_BIN_DIR "/workflow-server";
/// The same server with a promise broken on purpose; see control_server.cc.
inline const std::string broken_server_program = STEPLOG_BIN_DIR "/workflow-server-broken";

/// A number from the environment: how many rounds are wanted.
int wanted(const char* variable, int usual);

/// Why a test cannot run here, told loudly: no root, a program that is missing. "" when it can.
std::string missing(bool root, const Command& programs);

/// What came back on a connection of its own, head and all; "" when nothing did.
std::string raw_request(int port, const std::string& request);

class StormWorld : public ::testing::Test {
  protected:
    /// `clock` is the sandbox's.
    explicit StormWorld(const Clock* clock = nullptr);

    sandbox::Sandbox& world() { return stand_ins_->sandbox(); }
    sandbox::Sender& sender() { return *stand_ins_->sender(); }
    int port() const { return port_; }
    pid_t pid() const { return server_->pid(); }
    std::string url(const std::string& path) const;

    /// Starts the server, `before` in front of its command line (strace, prlimit …).
    void start(const Command& before = {}, const std::string& program = server_program);
    /// The next one that is started uses these settings, too.
    void set(const std::string& name, const std::string& value) { environment_[name] = value; }
    /// Whether it answered 200 on /readyz before it died or the time was over.
    bool becomes_ready(Ms timeout = std::chrono::seconds(30));
    /// True while the process lives; waits so long at most for its end.
    bool lives(Ms wait = Ms(0));
    std::optional<Exit> exited(Ms timeout);
    void kill_server();
    /// SIGTERM; expects exit code 0. Returns how long it took.
    Ms stop_server(Ms timeout = std::chrono::seconds(30));
    void restart();

    /// So many new customers pay; each of their events is delivered twice, shuffled.
    void buy(int customers);
    int customers() const { return customers_; }
    /// Every event that there ever was is delivered once more.
    void deliver_again();
    /// A signed event that no workflow wants, delivered now: the answer, head and all.
    std::string deliver_unwanted(const std::string& id);

    /// Lets the living server come to an end with all it has, and Stripe with its deliveries.
    void settle(Ms timeout = std::chrono::seconds(120));

    /// The same, and a person resumes those that are stuck with this error code. Returns how many.
    int settle_resuming(const std::string& error_code, Ms timeout = std::chrono::seconds(120));

    struct Reckoning {
        int acknowledged = 0;
        int lost = 0;  // acknowledged, and not in the database
        int users = 0, emails = 0, linked_customers = 0, linked_subscriptions = 0;
        int repeated_effects = 0;
        int repeated_steps = 0;  // begun again after they were completed
        std::string integrity;   // "ok"
    };
    Reckoning reckon();
    /// All of it as it should be, and workflow-inspect check content. Stops the server first.
    Reckoning expect_nothing_lost_or_repeated();
    int lost();
    /// From now on only the events of purchases count as lost, not the echoes of our own writes,
    /// which deliver_again() does not know.
    void forgive_lost_echoes() { echoes_forgiven_ = true; }

    std::int64_t count(const std::string& query) const;
    bool becomes(const std::string& query, std::int64_t expected,
                 Ms limit = std::chrono::seconds(60)) const;
    int requests() const;
    std::string log() const;  // the end of the server's log

    TemporaryDirectory directory_;
    std::filesystem::path database_ = directory_ / "steplog.db";
    std::map<std::string, std::string> environment_;
    std::optional<Process> server_;
    std::unique_ptr<sandbox::Service> stand_ins_;

  private:
    const int port_;
    int customers_ = 0;
    bool echoes_forgiven_ = false;
    std::vector<sandbox::Event> events_;  // of all purchases
};

}  // namespace steplog::testing
