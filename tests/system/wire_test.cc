// The built server on the wire: every row of the bad-input corpus against it, a signed event made
// durable after each, over IPv4, IPv6 and TLS; its limits as settings; and no file descriptor left.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <deque>
#include <fstream>

#include "tests/server/front_corpus.h"
#include "tests/server/front_tls_support.h"
#include "tests/support/sanitizers.h"
#include "tests/system/server_program.h"

namespace steplog::testing {
namespace {

using Environment = ServerProgram::Environment;

Reply ask(const ServerProgram& server, std::string_view bytes) {
    RawClient client(server.address);
    client.send(bytes);
    return client.read_reply();
}

void expect_ends_well(ServerProgram& server) {
    server.process.signal(SIGTERM);
    const auto exit = server.process.wait();
    ASSERT_TRUE(exit) << "still running";
    EXPECT_EQ(exit->code, 0) << server.process.errors();
}

struct Listener {
    std::string name;
    std::string listen;
    bool tls;
};
void PrintTo(const Listener& listener, std::ostream* out) { *out << listener.name; }

class ServerOver : public ::testing::TestWithParam<Listener> {};

TEST_P(ServerOver, AnswersEveryRowAndTakesASignedEventAfterIt) {
    const Certificates certificates;
    Environment environment = {{"STEPLOG_LISTEN", GetParam().listen}};
    if (GetParam().tls) {
        certificates.make("a.example");
        environment["TLS_CERT"] = certificates.cert();
        environment["TLS_KEY"] = certificates.key();
    }
    ServerProgram server(environment);
    int number = 0;
    for (const Row& row : all_rows()) {
        SCOPED_TRACE(::testing::PrintToString(row));
        const auto client = client_of(server.address, GetParam().tls);
        client->send(row.bytes);
        const Reply reply = client->read_reply();
        EXPECT_EQ(reply.status, row.status);
        EXPECT_EQ(reply.has("Connection: close"), row.close);
        if (row.close) {
            EXPECT_EQ(client->read_to_end(), "");
        }
        const auto good = client_of(server.address, GetParam().tls);
        good->send(signed_post("evt_row" + std::to_string(++number)));
        EXPECT_EQ(good->read_reply().body, ignored_answer);
    }
    expect_ends_well(server);
}

INSTANTIATE_TEST_SUITE_P(Listeners, ServerOver,
                         ::testing::Values(Listener{"Ipv4", "127.0.0.1:0", false},
                                           Listener{"Ipv6", "[::1]:0", false},
                                           Listener{"Tls", "127.0.0.1:0", true}),
                         [](const auto& listener) { return listener.param.name; });

/// How many of `count` deliveries with a bad signature, said to come from `address`, were told to
/// slow down.
int told_to_slow_down(const ServerProgram& server, const std::string& address, int count) {
    int told = 0;
    for (int i = 0; i < count; ++i) {
        const Reply reply = ask(server, post("{}", "X-Forwarded-For: " + address + "\r\n"));
        told += reply.status == 429 ? 1 : 0;
        EXPECT_TRUE(reply.status == 400 || reply.status == 429) << reply.status;
    }
    return told;
}

TEST(Server, BelievesForwardedAddressesOnlyOfTrustedProxies) {
    ServerProgram alone;
    EXPECT_EQ(told_to_slow_down(alone, "203.0.113.9", 200), 0) << "loopback is exempt";
    ServerProgram behind(Environment{{"STEPLOG_TRUSTED_PROXIES", "127.0.0.1"}});
    EXPECT_GT(told_to_slow_down(behind, "203.0.113.9", 200), 0);
    EXPECT_EQ(told_to_slow_down(behind, "203.0.113.10", 10), 0) << "another client";
    const std::string forwarded = "X-Forwarded-For: 203.0.113.9\r\n";
    EXPECT_EQ(ask(behind, signed_post("evt_1", forwarded)).body, ignored_answer)
        << "what is signed is never limited";
}

TEST(Server, TakesTheFrontsLimitsFromItsSettings) {
    ServerProgram server({{"STEPLOG_HEADER_TIMEOUT", "100ms"},
                          {"STEPLOG_IDLE_TIMEOUT", "100ms"},
                          {"STEPLOG_MAX_BODY", "1KiB"}},
                         {server_program, "--max-target", "64B", "--max-header-count", "4"});
    EXPECT_EQ(ask(server, post(std::string(1025, ' '))).status, 413);
    EXPECT_EQ(ask(server, get("/" + repeat("a", 64))).status, 414);
    EXPECT_EQ(ask(server, get("/healthz", repeat("A: b\r\n", 4))).status, 431);
    EXPECT_EQ(ask(server, "GET /healthz HTTP/1.1\r\n").status, 408);
    RawClient idle(server.address);
    idle.send(get("/healthz"));
    EXPECT_EQ(idle.read_last_reply().status, 200) << "and then closed, long before 5 s";
    EXPECT_EQ(ask(server, signed_post("evt_1")).body, ignored_answer);
}

TEST(Server, ReadsRolledWebhookSecretsAndCertificatesAgainOnSighup) {
    const std::string rolled = "whsec_NotARealSecret1111";
    const TemporaryDirectory directory;
    const auto file = directory / "webhook_secret";
    const auto write = [&](const std::string& text) { std::ofstream(file) << text << "\n"; };
    const Certificates certificates;
    certificates.make("first.example");
    write(webhook_secret);
    ServerProgram server({{"STRIPE_WEBHOOK_SECRET", ""},
                          {"STRIPE_WEBHOOK_SECRET_FILE", file.string()},
                          {"TLS_CERT", certificates.cert()},
                          {"TLS_KEY", certificates.key()}});
    const auto deliver = [&](const std::string& id, const std::string& secret) {
        TlsClient client(server.address);
        EXPECT_TRUE(client.connect());
        return client.ask(signed_post(id, "", secret)).status;
    };
    EXPECT_EQ(deliver("evt_1", webhook_secret), 200);
    EXPECT_EQ(deliver("evt_2", rolled), 400);

    write(rolled + "," + webhook_secret);
    certificates.make("second.example");
    server.process.signal(SIGHUP);
    ASSERT_TRUE(server.process.wait_for_error_line("webhook secrets read again"));
    EXPECT_EQ(deliver("evt_2", rolled), 200);
    EXPECT_EQ(deliver("evt_3", webhook_secret), 200) << "until its sender has the new one";
    TlsClient client(server.address);
    ASSERT_TRUE(client.connect());
    EXPECT_EQ(client.peer_name(), "second.example");

    write("whsec_short");
    server.process.signal(SIGHUP);
    ASSERT_TRUE(server.process.wait_for_error_line("the old ones stay"));
    EXPECT_EQ(deliver("evt_4", rolled), 200);

    write(rolled);
    server.process.signal(SIGHUP);
    ASSERT_TRUE(server.process.wait_for_error_line("webhook secrets read again"));
    EXPECT_EQ(deliver("evt_5", webhook_secret), 400);
    EXPECT_EQ(server.process.errors().find("NotARealSecret"), std::string::npos);
    expect_ends_well(server);
}

/// Far more connections than the server has descriptors for, with good requests among them.
void expect_lives_on_without_descriptors(ServerProgram& server) {
    {
        std::deque<RawClient> many;
        for (int i = 0; i < 300; ++i) {
            many.emplace_back(server.address);
            many.back().send("GET /healthz HTTP/1.1\r\n");
            if (i % 50 == 49) {
                EXPECT_EQ(ask(server, signed_post("evt_" + std::to_string(i))).body,
                          ignored_answer);
            }
        }
    }
    EXPECT_EQ(ask(server, signed_post("evt_after")).body, ignored_answer);
    expect_ends_well(server);
}

// UBSan looks at an object through a pipe, and takes the want of one for a bad object.
constexpr const char* sanitizers_need_descriptors = "the sanitizers need file descriptors too";

TEST(Server, LivesOnWithFewFileDescriptors) {
    if (built_with_sanitizers) GTEST_SKIP() << sanitizers_need_descriptors;
    ServerProgram server({}, {"/usr/bin/prlimit", "--nofile=64:64", server_program});
    expect_lives_on_without_descriptors(server);
}

TEST(Server, LivesOnWhenItsFileDescriptorsRunOut) {
    if (built_with_sanitizers) GTEST_SKIP() << sanitizers_need_descriptors;
    ServerProgram server;
    const rlimit few{64, 64};
    ASSERT_EQ(::prlimit(server.process.pid(), RLIMIT_NOFILE, &few, nullptr), 0);
    expect_lives_on_without_descriptors(server);
    EXPECT_NE(server.process.errors().find("no file descriptor left"), std::string::npos)
        << "it was never short of any";
}

}  // namespace
}  // namespace steplog::testing
