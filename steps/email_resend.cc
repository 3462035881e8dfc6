// Resend's HTTP API as the e-mail's way out. Any thread.
#include "steps/email_resend.h"

#include "steps/json_reading.h"

namespace steplog::steps {

ResendSender::ResendSender(HttpTransport& transport, const Clock& clock,
                           const ResendOptions& options)
    : api_(transport, clock, Dialect::resend, options.base,
           {{"Authorization", "Bearer " + options.api_key}, {"Content-Type", "application/json"}}) {
}

std::string ResendSender::send(const Json& message, const Call& call) {
    const ProviderRequest request{.method = "POST",
                                  .target = "/emails",
                                  .body = dump_json(message),
                                  .doing = "send the welcome e-mail"};
    const Json reply = api_.call(request, call);
    std::string id = text_at(reply, {"id"});
    if (id.empty()) api_.throw_bad_reply(request);
    return id;
}

}  // namespace steplog::steps
