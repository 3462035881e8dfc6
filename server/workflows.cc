// The server's workflows; see workflows.h.
#include "server/workflows.h"

#include "steps/email_resend.h"
#include "steps/provision_customer.h"

namespace steplog::server {

Outside::Outside(const Settings& settings, const Clock& clock)
    : http(
          {.connect_timeout = settings.http_connect_timeout, .reply_max = settings.http_reply_max}),
      providers{.stripe = {http, clock, {settings.stripe_api_base, settings.stripe_secret_key}},
                .clerk = {http, clock, {settings.clerk_api_base, settings.clerk_secret_key}},
                .app_url = settings.app_url,
                .email_from = settings.email_from,
                .email_reply_to = settings.email_reply_to,
                .livemode = settings.livemode()} {
    if (settings.email_by == EmailBy::off) return;
    resend = std::make_unique<steps::ResendSender>(
        http, clock, steps::ResendOptions{settings.resend_api_base, settings.resend_api_key});
    providers.email = resend.get();
}

void register_workflows(Registry& registry, steps::Providers& providers,
                        steps::InstanceDesk& desk) {
    steps::register_provision_customer(registry, providers);
    steps::register_reconcile_accounts(registry, providers, desk);
}

}  // namespace steplog::server
