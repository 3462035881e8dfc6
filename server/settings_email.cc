// See settings_email.h.
#include "server/settings_email.h"

#include <fmt/format.h>

#include "server/settings_checks.h"

namespace steplog::server {
namespace {

using Reader = SettingsReader;

void read_templates(Reader& reader, Settings& settings) {
    settings.email_template_directory = reader.text("EMAIL_TEMPLATES");
    if (settings.email_template_directory.empty()) return;
    auto read = steps::WelcomeTemplates::read(settings.email_template_directory);
    for (const auto& problem : read.problems) reader.problem("EMAIL_TEMPLATES", problem);
    for (const auto& warning : read.warnings) reader.warning("EMAIL_TEMPLATES", warning);
    if (read.problems.empty()) settings.email_templates = std::move(read.templates);
}

void read_smtp(Reader& reader, Settings& settings, const std::string& url) {
    settings.email_by = EmailBy::smtp;
    reader.expect("SMTP_URL", [&] { settings.smtp = steps::parse_smtp_url(url); });
    const auto password = reader.secret("SMTP_PASSWORD");
    if (settings.smtp.host.empty()) return;  // said already
    if (password && !settings.smtp.password.empty())
        reader.problem("SMTP_PASSWORD", "is set beside a password in SMTP_URL; set one of the two");
    else if (password && settings.smtp.user.empty())
        reader.problem("SMTP_PASSWORD",
                       "is for nobody: put the user into SMTP_URL, like "
                       "smtp://user@host:587");
    else if (!password && !settings.smtp.user.empty() && settings.smtp.password.empty())
        reader.problem("SMTP_PASSWORD",
                       "is missing; set it, or SMTP_PASSWORD_FILE to a file that "
                       "holds it, or put it into SMTP_URL");
    if (password && settings.smtp.password.empty()) settings.smtp.password = *password;
}

void read_resend(Reader& reader, Settings& settings) {
    settings.email_by = EmailBy::resend;
    settings.resend_api_key = reader.required_secret(
        "RESEND_API_KEY", "or SMTP_URL, or EMAIL=off to send no welcome e-mail");
    reader.expect_plain("RESEND_API_KEY", settings.resend_api_key);
    if (reader.secret("SMTP_PASSWORD"))
        reader.problem("SMTP_PASSWORD", "is of no use without SMTP_URL; leave it out");
}

void read_way_out(Reader& reader, Settings& settings) {
    settings.resend_api_base = reader.base_url("RESEND_API_BASE");
    const auto smtp_url = reader.secret("SMTP_URL");
    if (!smtp_url) return read_resend(reader, settings);
    if (reader.secret("RESEND_API_KEY"))
        reader.problem("SMTP_URL", "is set beside RESEND_API_KEY; set one of the two");
    // An empty one is a file that could not be read, and told of.
    settings.email_by = EmailBy::smtp;
    if (!smtp_url->empty()) read_smtp(reader, settings, *smtp_url);
}

void read_addresses(Reader& reader, Settings& settings) {
    settings.email_from = reader.text("EMAIL_FROM");
    if (!is_mailbox(settings.email_from)) {
        reader.problem(
            "EMAIL_FROM",
            settings.email_from.empty()
                ? "is missing; write the sender, like Acme <hello@acme.com> (or set EMAIL=off)"
                : "is no sender; write hello@acme.com or Acme <hello@acme.com>");
    }
    settings.email_reply_to = reader.text("EMAIL_REPLY_TO");
    if (!settings.email_reply_to.empty() && !is_mailbox(settings.email_reply_to)) {
        reader.problem("EMAIL_REPLY_TO", "is no address; write support@acme.com");
    }
    if (reader.text("APP_URL").empty()) {
        reader.problem("APP_URL",
                       "is missing; write where the customer signs in, like https://app.acme.com "
                       "(or set EMAIL=off)");
    } else {
        settings.app_url = reader.page_url("APP_URL");
    }
}

void read_test_redirect(Reader& reader, Settings& settings) {
    settings.email_test_redirect = reader.text("EMAIL_TEST_REDIRECT");
    if (settings.email_test_redirect.empty()) return;
    if (!is_mailbox(settings.email_test_redirect))
        reader.problem("EMAIL_TEST_REDIRECT", "is no address; write dev@acme.com");
    else if (settings.livemode().value_or(false))
        reader.warning("EMAIL_TEST_REDIRECT",
                       "redirects nothing: STRIPE_SECRET_KEY is a live key, and live customers "
                       "get their e-mails");
}

}  // namespace

void read_email(SettingsReader& reader, Settings& settings) {
    read_templates(reader, settings);
    settings.email_uncertain = reader.choice<Repeat>(
        "EMAIL_UNCERTAIN", {{"hold", Repeat::at_most_once}, {"send_again", Repeat::at_least_once}},
        Repeat::at_most_once);
    const std::string email = reader.text("EMAIL");
    if (email == "off") return;
    if (!email.empty()) {
        reader.problem("EMAIL", fmt::format("\"{}\" is not off; leave it out to send e-mail",
                                            Reader::printable(email)));
        return;
    }
    read_way_out(reader, settings);
    read_addresses(reader, settings);
    read_test_redirect(reader, settings);
}

std::vector<std::string> describe_email(const Settings& settings) {
    if (settings.email_by == EmailBy::off) return {"EMAIL=off"};
    std::vector<std::string> lines;
    const auto add = [&](std::string_view name, const auto& value) {
        lines.push_back(fmt::format("{}={}", name, value));
    };
    if (settings.email_by == EmailBy::smtp) {
        using Tls = steps::SmtpServer::Tls;
        add("SMTP_URL", fmt::format("{}, {}, {}", settings.smtp.authority(),
                                    settings.smtp.tls == Tls::implicit   ? "TLS"
                                    : settings.smtp.tls == Tls::starttls ? "STARTTLS"
                                                                         : "in the clear",
                                    settings.smtp.user.empty() ? "no login" : "with a login"));
    } else {
        add("RESEND_API_KEY", last_four(settings.resend_api_key));
        add("RESEND_API_BASE", settings.resend_api_base);
    }
    add("EMAIL_FROM", "set");
    add("EMAIL_REPLY_TO", settings.email_reply_to.empty() ? "none" : "set");
    add("EMAIL_UNCERTAIN",
        settings.email_uncertain == Repeat::at_most_once ? "hold" : "send_again");
    const auto languages = settings.email_templates.languages();
    add("EMAIL_TEMPLATES", settings.email_template_directory.empty()
                               ? std::string("built-in")
                               : fmt::format("{} ({} languages)", settings.email_template_directory,
                                             1 + languages.size()));
    add("EMAIL_TEST_REDIRECT", settings.email_test_redirect.empty() ? "none" : "set");
    add("APP_URL", settings.app_url);
    return lines;
}

}  // namespace steplog::server
