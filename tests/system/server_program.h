// The built workflow-server for tests that meet it over raw sockets, and events that it takes.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <ctime>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "server/signature.h"
#include "tests/server/front_support.h"
#include "tests/support/process.h"
#include "tests/support/temporary_directory.h"

namespace steplog::testing {

inline const std::string server_program = STEPLOG_BIN_DIR "/workflow-server";
inline const std::string webhook_secret = "whsec_NotARealSecret0000";

/// A database of its own, and no provider at the other end.
class ServerProgram {
  public:
    using Environment = std::map<std::string, std::string>;

    explicit ServerProgram(const Environment& more = {},
                           std::vector<std::string> command = {server_program})
        : process(command, environment_with(more)) {
        const auto line = process.read_line(std::chrono::seconds(20));
        const auto scheme = line ? line->find("://") : std::string::npos;
        if (scheme == std::string::npos) {
            process.wait(std::chrono::seconds(1));
            throw std::runtime_error("the server did not start: " + process.errors());
        }
        address = line->substr(scheme + 3);
    }

    TemporaryDirectory directory;
    Process process;
    std::string address;  // "127.0.0.1:43211"

  private:
    Environment environment_with(const Environment& more) {
        Environment all = {{"STEPLOG_DATABASE", (directory / "steplog.db").string()},
                           {"STEPLOG_LISTEN", "127.0.0.1:0"},
                           {"STEPLOG_WORKERS", "4"},
                           {"STRIPE_SECRET_KEY", "sk_test_NotARealStripeKey00001234"},
                           {"STRIPE_WEBHOOK_SECRET", webhook_secret},
                           {"STRIPE_API_BASE", "http://127.0.0.1:1"},
                           {"CLERK_SECRET_KEY", "sk_test_NotARealClerkKey000005678"},
                           {"CLERK_API_BASE", "http://127.0.0.1:1"},
                           {"STEPLOG_MISSED_EVENTS", "off"},  // no instance that no test asked for
                           {"EMAIL", "off"}};
        for (const auto& [name, value] : more) all[name] = value;
        return all;
    }
};

/// A delivery of a fresh event that no workflow wants: stored, synced, and nothing follows.
inline std::string signed_post(const std::string& id, std::string_view more_headers = "",
                               const std::string& secret = webhook_secret) {
    const std::string body = fmt::format(
        R"({{"id":"{}","object":"event","created":1793520000,"data":{{"object":{{"id":"cus_1"}}}},)"
        R"("livemode":false,"type":"customer.created"}})",
        id);
    return post(body, "Stripe-Signature: " +
                          server::stripe_signature_header(body, secret, std::time(nullptr)) +
                          "\r\n" + std::string(more_headers));
}

inline const std::string ignored_answer = R"({"received":true,"note":"ignored"})";

}  // namespace steplog::testing
