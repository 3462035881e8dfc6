// Turns what befalls an exchange into what a real client would throw. Any thread.
#include "tools/sandbox/transport.h"

#include "engine/errors.h"

namespace steplog::sandbox {
namespace {

std::optional<Provider> provider_of_base(std::string_view base) {
    for (const Provider provider : {Provider::stripe, Provider::clerk, Provider::resend}) {
        if (base.find(to_string(provider)) != std::string_view::npos) return provider;
    }
    return std::nullopt;
}

[[noreturn]] void fail(const std::string& message, const std::string& code, Outcome outcome) {
    throw RetryableError(message, {.code = code, .outcome = outcome});
}

}  // namespace

steps::HttpReply SandboxTransport::send(const steps::HttpRequest& request) {
    const SandboxRequest asked{.method = request.method,
                               .target = request.target,
                               .headers = request.headers,
                               .body = request.body};
    Exchange exchange = sandbox_.exchange(asked, provider_of_base(request.base));
    sandbox_.finish(exchange);
    const bool too_late = exchange.wire == Wire::hangs || exchange.delay >= request.timeout;
    const Ms waited = too_late ? request.timeout : exchange.delay;
    if (wait_ && waited > Ms(0)) wait_(waited);
    if (too_late) fail("no answer within the time-out", "timeout", Outcome::unknown);
    switch (exchange.wire) {
        case Wire::delivered:
        case Wire::interim:
            return std::move(exchange.reply);
        case Wire::refused:
            fail("cannot connect", "no_connection", Outcome::refused);
        case Wire::reset:
            fail("the connection was reset", "reset", Outcome::unknown);
        case Wire::truncated:
            fail("the answer was cut", "cut_reply", Outcome::unknown);
        case Wire::interim_only:
            fail("an interim answer came last", "interim_reply", Outcome::unknown);
        case Wire::oversized:
            fail("the answer is too large", "oversized_reply", Outcome::unknown);
        case Wire::hangs:
            break;
    }
    fail("no answer within the time-out", "timeout", Outcome::unknown);
}

}  // namespace steplog::sandbox
