// An HttpTransport whose answers a test writes down beforehand, and which remembers what it was
// asked. Used by the tests of the providers' clients; one thread.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <variant>

#include "engine/errors.h"
#include "steps/http.h"

namespace steplog::testing {

class ScriptedTransport : public steps::HttpTransport {
  public:
    void answer(int status, std::string body, steps::Headers headers = {}) {
        script_.push_back(steps::HttpReply{status, std::move(headers), std::move(body)});
    }
    void break_off(const std::string& code, Outcome outcome) {
        script_.push_back(
            RetryableError("the connection broke", {.code = code, .outcome = outcome}));
    }

    steps::HttpReply send(const steps::HttpRequest& request) override {
        requests.push_back(request);
        if (script_.empty()) throw std::logic_error("nothing was scripted for " + request.target);
        const auto next = std::move(script_.front());
        script_.pop_front();
        if (const auto* error = std::get_if<RetryableError>(&next)) throw *error;
        return std::get<steps::HttpReply>(next);
    }

    /// A header of the n-th request; "" when it has none.
    std::string header(std::size_t n, const std::string& name) const {
        const steps::HttpReply as_reply{200, requests.at(n).headers, ""};
        return as_reply.header(name);
    }

    std::vector<steps::HttpRequest> requests;

  private:
    std::deque<std::variant<steps::HttpReply, RetryableError>> script_;
};

/// The RetryableError that a call throws; a failure of the test when it throws none.
inline RetryableError::Details retryable(const std::function<void()>& call) {
    try {
        call();
    } catch (const RetryableError& error) {
        return error.details();
    } catch (const std::exception& error) {
        ADD_FAILURE() << "another error was thrown: " << error.what();
        return {.code = "another error"};
    }
    ADD_FAILURE() << "no error was thrown";
    return {.code = "no error"};
}

}  // namespace steplog::testing
