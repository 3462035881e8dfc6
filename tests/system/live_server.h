// The built workflow-server under a test that speaks to it in bytes: signs like Stripe, or not at
// all, and reads what was stored beside it. Nobody listens at the providers' addresses unless the
// test says where: what is started waits for its first retry. One thread at a time.
#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

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

namespace steplog::testing {

inline const std::string webhook_secret = "whsec_NotARealSecret0000";
inline const std::string older_webhook_secret = "whsec_NotARealSecret_old";

inline std::map<std::string, std::string> server_environment(
    const std::filesystem::path& database) {
    return {{"STEPLOG_DATABASE", database.string()},
            {"STEPLOG_LISTEN", "127.0.0.1:0"},
            {"STEPLOG_WORKERS", "4"},
            {"STEPLOG_RETRY_BASE", "1h"},
            {"STRIPE_SECRET_KEY", "sk_test_NotARealStripeKey00001234"},
            {"STRIPE_WEBHOOK_SECRET", webhook_secret + "," + older_webhook_secret},
            {"STRIPE_API_BASE", "http://127.0.0.1:1"},
            {"CLERK_SECRET_KEY", "sk_test_NotARealClerkKey000005678"},
            {"CLERK_API_BASE", "http://127.0.0.1:1"},
            {"EMAIL", "off"}};
}

/// A `Stripe-Signature` of now.
inline std::string signature_of(const std::string& body, const std::string& secret = webhook_secret,
                                std::int64_t age_s = 0) {
    return server::stripe_signature_header(body, secret, std::time(nullptr) - age_s);
}

/// A server that has said where it listens.
class LiveServer {
  public:
    static inline const std::string program = STEPLOG_BIN_DIR "/workflow-server";

    explicit LiveServer(const std::map<std::string, std::string>& environment)
        : database_(environment.at("STEPLOG_DATABASE")), process({program}, environment) {
        const auto line = process.read_line(std::chrono::seconds(20));
        const std::string before = "workflow-server listening on http://";
        if (!line || !line->starts_with(before)) {
            process.wait(std::chrono::seconds(1));
            throw std::runtime_error("the server did not start: " + process.errors());
        }
        address = line->substr(before.size());
    }

    /// "200 {…}": status and body of the answer to a POST with exactly these signature headers; ""
    /// when the connection ended without one.
    std::string post(const std::string& body, const std::vector<std::string>& signatures) {
        std::string head =
            "POST /api/stripe-webhook HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n"
            "Content-Type: application/json; charset=utf-8\r\n";
        for (const auto& signature : signatures) head += "Stripe-Signature: " + signature + "\r\n";
        RawClient client(address);
        client.send(head + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
        const Reply reply = client.read_reply();
        return reply.status == 0 ? "" : std::to_string(reply.status) + " " + reply.body;
    }
    std::string post_signed(const std::string& body) { return post(body, {signature_of(body)}); }

    /// One value from the database, as text; "" for none.
    std::string sql(const std::string& query) const {
        SQLite::Database reader(database_, SQLite::OPEN_READONLY, 2000);
        SQLite::Statement statement(reader, query);
        return statement.executeStep() ? statement.getColumn(0).getString() : "";
    }

  private:
    std::string database_;

  public:
    Process process;
    std::string address;
};

}  // namespace steplog::testing
