// The limits of one outbound attempt: when it must be over, what may stop it, and what its failure
// means. Lives on the stack of the thread that sends; only the stop token reaches in from others.
#pragma once

#include <chrono>
#include <optional>
#include <stop_token>
#include <string>

#include "engine/errors.h"

namespace steplog::steps {

class HttpAttempt {
  public:
    using Time = std::chrono::steady_clock::time_point;

    /// How far the attempt got. Up to the handshake nothing of the request has left this machine.
    enum class Stage { lookup, connect, handshake, exchange };

    /// Starts the clock. `where` names the other side in error texts: host and port, never a path.
    /// Throws RetryableError (refused) when the machine has no file descriptor left.
    HttpAttempt(std::string where, Ms timeout, std::stop_token stop);
    ~HttpAttempt();
    HttpAttempt(const HttpAttempt&) = delete;
    HttpAttempt& operator=(const HttpAttempt&) = delete;

    void enter(Stage stage) { stage_ = stage; }
    Time deadline() const { return deadline_; }
    const std::stop_token& stop() const { return stop_; }

    /// Throws RetryableError when the deadline has passed or a stop was asked for.
    void check() const;

    /// Waits until the socket is ready for `events` (POLLIN, POLLOUT); throws as check() does.
    void wait(int socket, short events) const;

    /// As wait(), but gives up at `until` and then returns false.
    bool wait_until(int socket, short events, Time until) const;

    /// Throws RetryableError. Before the exchange: refused, and the code says what was under way
    /// (dns, no_connection, tls). In the exchange: unknown, with the given code.
    [[noreturn]] void fail(std::string code_in_exchange, const std::string& text) const;

  private:
    struct Waker {
        int event;
        void operator()() const noexcept;
    };
    std::string code(std::string code_in_exchange) const;

    const std::string where_;
    const Time started_;
    const Time deadline_;
    const std::stop_token stop_;
    Stage stage_ = Stage::lookup;
    int wake_event_ = -1;
    std::optional<std::stop_callback<Waker>> waker_;  // ends before its event is closed
};

}  // namespace steplog::steps
