// The server's workflows; see workflows.h.
#include "server/workflows.h"

#include <unistd.h>

#include <array>

#include "steps/email_resend.h"
#include "steps/email_smtp.h"
#include "steps/provision_customer.h"

namespace steplog::server {
namespace {

std::string host_name() {
    std::array<char, 256> name{};
    return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "";
}

}  // namespace

Outside::Outside(const Settings& settings, const Clock& clock)
    : http(
          {.connect_timeout = settings.http_connect_timeout, .reply_max = settings.http_reply_max}),
      providers{.stripe = {http, clock, {settings.stripe_api_base, settings.stripe_secret_key}},
                .clerk = {http, clock, {settings.clerk_api_base, settings.clerk_secret_key}},
                .app_url = settings.app_url,
                .email_from = settings.email_from,
                .email_reply_to = settings.email_reply_to,
                .livemode = settings.livemode(),
                .email_templates = settings.email_templates,
                .email_uncertain = settings.email_uncertain,
                .email_test_redirect = settings.email_test_redirect} {
    if (settings.email_by == EmailBy::resend)
        email = std::make_unique<steps::ResendSender>(
            http, clock, steps::ResendOptions{settings.resend_api_base, settings.resend_api_key});
    if (settings.email_by == EmailBy::smtp)
        email = std::make_unique<steps::SmtpSender>(clock, settings.smtp);
    providers.email = email.get();
    add_alert_channels(settings, clock);
}

void Outside::add_alert_channels(const Settings& settings, const Clock& clock) {
    const std::string host = host_name();
    if (!settings.sentry_dsn.empty())
        alerts.push_back(
            steps::sentry(http, clock, steps::parse_sentry_dsn(settings.sentry_dsn), host));
    if (!settings.alert_webhook_url.empty())
        alerts.push_back(steps::alert_webhook(
            http, clock, {settings.alert_webhook_url, settings.alert_webhook_secret, host}));
    if (!settings.alert_email_to.empty())
        alerts.push_back(steps::alert_email(*email, settings.email_from, settings.alert_email_to));
}

void register_workflows(Registry& registry, Outside& outside, const Inside& inside,
                        const Clock& clock) {
    steps::register_provision_customer(registry, outside.providers);
    steps::register_reconcile_accounts(registry, outside.providers, inside.desk);
    steps::register_missed_events(registry, outside.providers.stripe, inside.inbox, clock,
                                  {.livemode = outside.providers.livemode});
    steps::register_tell_people(registry, outside.alerts);
}

}  // namespace steplog::server
