// How this room's tests attempt a request and judge how it ended.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "engine/errors.h"
#include "steps/http_client.h"
#include "tests/steps/hostile_server.h"

namespace steplog::steps {

using testing::HostileServer;
using testing::Peer;

constexpr Ms ample{20000};
constexpr Ms short_timeout{200};
constexpr Ms unread_timeout{400};                // to fill the buffers of a socket takes a while
constexpr std::size_t unread_bytes = 6'000'000;  // more than they hold

/// What an attempt came to. Its time is part of it: nothing may outlast its deadline.
struct Ending {
    std::string code;  // "" when there was a reply
    Outcome outcome = Outcome::refused;
    bool interrupted = false;
    std::string text;
    HttpReply reply;
    Ms took{0};
};

inline Ending attempt(HttpClient& client, const HttpRequest& request) {
    Ending ending;
    const auto began = std::chrono::steady_clock::now();
    try {
        ending.reply = client.send(request);
    } catch (const RetryableError& error) {
        ending.code = error.details().code;
        ending.outcome = error.details().outcome;
        ending.interrupted = error.details().interrupted;
        ending.text = error.what();
    }
    ending.took = std::chrono::duration_cast<Ms>(std::chrono::steady_clock::now() - began);
    return ending;
}

/// One client for all, as in the server; it also saves reading the system's certificates each time.
inline HttpClient& shared_client() {
    static HttpClient client;
    return client;
}

inline HttpRequest make_request(const std::string& method, const std::string& base,
                                Ms timeout = ample, const std::string& body = "") {
    HttpRequest request;
    request.method = method;
    request.base = base;
    request.target = std::string("/");
    request.timeout = timeout;
    request.body = body;
    return request;
}

inline Ending get(const std::string& base, Ms timeout = ample) {
    return attempt(shared_client(), make_request("GET", base, timeout));
}

inline void expect_unknown(const Ending& ending, const std::string& code) {
    EXPECT_EQ(ending.code, code) << ending.text;
    EXPECT_EQ(ending.outcome, Outcome::unknown) << ending.text;
}

inline void expect_refused(const Ending& ending, const std::string& code) {
    EXPECT_EQ(ending.code, code) << ending.text;
    EXPECT_EQ(ending.outcome, Outcome::refused) << ending.text;
}

/// Ended by its deadline: not before, and not long after.
inline void expect_in_time(const Ending& ending, Ms timeout) {
    EXPECT_GE(ending.took, timeout);
    EXPECT_LT(ending.took, timeout + Ms(2000));
}

/// A server that reads the request, sends these bytes and closes.
inline HostileServer::Script answer(std::string bytes) {
    return [bytes = std::move(bytes)](Peer& peer) {
        peer.read_request();
        peer.send(bytes);
    };
}

/// …and does not close, so that only the declared length can end the reply.
inline HostileServer::Script answer_and_stay(std::string bytes) {
    return [bytes = std::move(bytes)](Peer& peer) {
        peer.read_request();
        peer.send(bytes);
        peer.wait_until_gone();
    };
}

}  // namespace steplog::steps
