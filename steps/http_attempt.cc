// See http_attempt.h.
#include "steps/http_attempt.h"

#include <fmt/core.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

namespace steplog::steps {

namespace {

/// So that the sum with the clock cannot overflow.
constexpr Ms timeout_max = std::chrono::hours(24);

/// Rounded up, so that a wait never ends before its time and then spins.
int poll_timeout(HttpAttempt::Time until) {
    using std::chrono::ceil;
    const Ms left = ceil<Ms>(until - std::chrono::steady_clock::now());
    return static_cast<int>(std::clamp(left, Ms(0), timeout_max).count());
}

}  // namespace

void HttpAttempt::Waker::operator()() const noexcept { eventfd_write(event, 1); }

HttpAttempt::HttpAttempt(std::string where, Ms timeout, std::stop_token stop)
    : where_(std::move(where)),
      started_(std::chrono::steady_clock::now()),
      deadline_(started_ + std::clamp(timeout, Ms(0), timeout_max)),
      stop_(std::move(stop)) {
    if (!stop_.stop_possible()) return;
    wake_event_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake_event_ < 0) {
        stage_ = Stage::connect;
        fail("", fmt::format("no file descriptor left ({}): raise the limit on open files",
                             std::generic_category().message(errno)));
    }
    waker_.emplace(stop_, Waker{wake_event_});
}

HttpAttempt::~HttpAttempt() {
    waker_.reset();
    if (wake_event_ >= 0) close(wake_event_);
}

void HttpAttempt::check() const {
    if (stop_.stop_requested()) {
        throw RetryableError(
            fmt::format("{}: the attempt was interrupted by a shutdown", where_),
            {.code = "interrupted",
             .outcome = stage_ == Stage::exchange ? Outcome::unknown : Outcome::refused,
             .interrupted = true});
    }
    if (std::chrono::steady_clock::now() >= deadline_) {
        fail("timeout", fmt::format("no complete answer within {} ms",
                                    std::chrono::ceil<Ms>(deadline_ - started_).count()));
    }
}

void HttpAttempt::wait(int socket, short events) const {
    while (!wait_until(socket, events, deadline_)) check();
}

bool HttpAttempt::wait_until(int socket, short events, Time until) const {
    for (;;) {
        check();
        std::array<pollfd, 2> watched{pollfd{socket, events, 0}, pollfd{wake_event_, POLLIN, 0}};
        const int ready =
            poll(watched.data(), watched.size(), poll_timeout(std::min(until, deadline_)));
        if (ready < 0 && errno != EINTR) {
            fail("reset", fmt::format("cannot wait for the network: {}",
                                      std::generic_category().message(errno)));
        }
        if (ready > 0 && watched[0].revents != 0) return true;
        check();
        if (std::chrono::steady_clock::now() >= until) return false;
    }
}

void HttpAttempt::fail(std::string code_in_exchange, const std::string& text) const {
    throw RetryableError(
        fmt::format("{}: {}", where_, text),
        {.code = code(std::move(code_in_exchange)),
         .outcome = stage_ == Stage::exchange ? Outcome::unknown : Outcome::refused});
}

std::string HttpAttempt::code(std::string code_in_exchange) const {
    switch (stage_) {
        case Stage::lookup:
            return "dns";
        case Stage::connect:
            return "no_connection";
        case Stage::handshake:
            return "tls";
        case Stage::exchange:
            break;
    }
    return code_in_exchange;
}

}  // namespace steplog::steps
