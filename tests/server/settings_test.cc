#include "server/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "server/settings_checks.h"
#include "server/settings_front.h"
#include "steps/http_client.h"

namespace steplog::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

Environment good() {
    return {{"STRIPE_SECRET_KEY", "sk_test_51NotARealKey0000000001abcd"},
            {"STRIPE_WEBHOOK_SECRET", "whsec_NotARealSecret0000"},
            {"CLERK_SECRET_KEY", "sk_test_NotARealClerkKey000wxyz"},
            {"EMAIL", "off"}};
}

Environment with(const std::string& name, const std::string& value) {
    auto environment = good();
    environment[name] = value;
    return environment;
}

SettingsRead read(const Environment& environment, const Environment& flags = {}) {
    return read_settings(environment, flags, false);
}

/// A file that is gone when the test is over.
class SecretFile {
  public:
    explicit SecretFile(const std::string& content) {
        std::string name = ::testing::TempDir() + "steplog-secret-XXXXXX";
        close_fd(mkstemp(name.data()));
        path_ = name;
        std::ofstream(path_, std::ios::binary) << content;
    }
    ~SecretFile() { std::filesystem::remove(path_); }
    const std::string& path() const { return path_; }

  private:
    static void close_fd(int fd) { ASSERT_EQ(close(fd), 0); }
    std::string path_;
};

TEST(Settings, HaveTheDocumentedDefaults) {
    const auto [settings, problems, warnings] = read(good());
    EXPECT_THAT(problems, IsEmpty());
    EXPECT_THAT(warnings, IsEmpty());
    EXPECT_EQ(settings.database, "./steplog.db");
    EXPECT_EQ(settings.listen, "127.0.0.1:8080");
    EXPECT_EQ(settings.workers, 64);
    EXPECT_EQ(settings.lease, std::chrono::seconds(30));
    EXPECT_EQ(settings.http_connect_timeout, steps::HttpClientOptions().connect_timeout);
    EXPECT_EQ(settings.http_reply_max, steps::HttpClientOptions().reply_max);
    EXPECT_EQ(settings.signature_failures, 20);
    EXPECT_EQ(settings.retention, std::chrono::hours(720));
    EXPECT_EQ(settings.reconcile, Reconcile::look);
    EXPECT_EQ(settings.reconcile_at, "0 9 * * *");
    EXPECT_EQ(settings.time_zone, "UTC");
    EXPECT_EQ(settings.log_level, LogLevel::info);
    EXPECT_EQ(settings.log_format, LogFormat::json);
    EXPECT_EQ(settings.retry.retry_for, std::chrono::hours(72));
    EXPECT_EQ(settings.retry.attempts_max, RetryPolicy{}.attempts_max);
    EXPECT_EQ(settings.retry.base, std::chrono::seconds(1));
    EXPECT_EQ(settings.retry.cap, std::chrono::hours(1));
    EXPECT_EQ(settings.http_timeout, std::chrono::seconds(20));
    EXPECT_EQ(settings.stripe_api_base, "https://api.stripe.com");
    EXPECT_EQ(settings.clerk_api_base, "https://api.clerk.com");
    EXPECT_EQ(settings.email_by, EmailBy::off);
    EXPECT_EQ(settings.livemode(), false);
    EXPECT_THAT(settings.trusted_proxies, IsEmpty());
}

TEST(Settings, GiveTheFrontTheLimitsItHasWithoutThem) {
    EXPECT_EQ(describe_front_limits(read(good()).settings.front),
              describe_front_limits(FrontLimits()));
}

TEST(Settings, CanChangeEveryLimitOfTheFront) {
    const auto defaults = describe_front_limits(FrontLimits());
    ASSERT_EQ(defaults.size(), 18U);
    for (const auto& line : defaults) {
        const std::string name = line.substr(0, line.find('='));
        // One more of the unit: in bounds everywhere, and at odds with no other limit.
        std::string value = line.substr(name.size() + 1);
        const auto digits = value.find_first_not_of("0123456789");
        const int number = std::stoi(value);
        value = std::to_string(name == "STEPLOG_MAX_TARGET" ? 1 : number + 1) +
                (digits == std::string::npos ? "" : value.substr(digits));
        if (name == "STEPLOG_HEADER_TIMEOUT") value = "4s";
        if (name == "STEPLOG_MAX_BODY") value = "2MiB";
        for (const auto& [environment, flags] :
             {std::pair(with(name, value), Environment()), {good(), {{name, value}}}}) {
            const auto changed = read(environment, flags);
            EXPECT_THAT(changed.problems, IsEmpty()) << name;
            const auto lines = describe(changed.settings);
            EXPECT_THAT(lines, ::testing::Contains(name + "=" + value));
        }
    }
}

TEST(Settings, RefuseLimitsOfTheFrontThatContradictEachOther) {
    for (const auto& [name, value, blamed] :
         {std::tuple("STEPLOG_REQUEST_TIMEOUT", "1s", "STEPLOG_REQUEST_TIMEOUT"),
          {"STEPLOG_HEADER_TIMEOUT", "1m", "STEPLOG_REQUEST_TIMEOUT"},
          {"STEPLOG_MAX_TARGET", "8KiB", "STEPLOG_MAX_LINE"},
          {"STEPLOG_MAX_LINE", "17KiB", "STEPLOG_MAX_HEADER"},
          {"STEPLOG_MAX_BODY", "16777217B", "STEPLOG_MAX_BODY"},
          {"STEPLOG_MAX_BUFFERED", "3MiB", "STEPLOG_MAX_BUFFERED"}}) {
        EXPECT_THAT(read(with(name, value)).problems,
                    ElementsAre(::testing::StartsWith(blamed + std::string(": "))))
            << name;
    }
    EXPECT_THAT(read(with("STEPLOG_MAX_BODY", "16MiB")).problems, IsEmpty());
}

TEST(Settings, TakeCertificateAndKeyTogetherAndReadable) {
    auto environment = with("TLS_CERT", "/nonexistent/cert.pem");
    EXPECT_THAT(read(environment).problems, ElementsAre(HasSubstr("TLS_KEY: is missing")));
    environment["TLS_KEY"] = "/nonexistent/key.pem";
    EXPECT_THAT(read(environment).problems,
                ElementsAre(HasSubstr("TLS_CERT: cannot read"), HasSubstr("TLS_KEY: cannot read")));
}

// --check-config called a text file a good certificate; the server then refused to start with it.
TEST(Settings, LookIntoTheCertificate) {
    const std::string no_certificate = STEPLOG_SOURCE_DIR "/LICENSE";
    auto environment = with("TLS_CERT", no_certificate);
    environment["TLS_KEY"] = no_certificate;
    EXPECT_THAT(read(environment).problems,
                ElementsAre(HasSubstr("TLS_CERT: " + no_certificate +
                                      ": no PEM certificate chain can be read")));
}

TEST(Settings, LogAsTextOnATerminalUnlessToldOtherwise) {
    EXPECT_EQ(read_settings(good(), {}, true).settings.log_format, LogFormat::text);
    EXPECT_EQ(read_settings(with("STEPLOG_LOG_FORMAT", "json"), {}, true).settings.log_format,
              LogFormat::json);
    EXPECT_EQ(read(with("STEPLOG_LOG_FORMAT", "text")).settings.log_format, LogFormat::text);
}

TEST(Settings, TakeFlagsBeforeTheEnvironment) {
    const auto read_both = read(with("STEPLOG_WORKERS", "7"), {{"STEPLOG_WORKERS", "3"}});
    EXPECT_EQ(read_both.settings.workers, 3);
    EXPECT_EQ(read(with("STEPLOG_WORKERS", "7")).settings.workers, 7);
    EXPECT_EQ(read(with("STEPLOG_WORKERS", "")).settings.workers, 64);
}

struct Bad {
    const char* name;
    const char* value;
};

TEST(Settings, ShowNoControlCharactersOfWhatIsWrong) {
    for (const auto& [name, value] : {std::pair("STEPLOG_TRUSTED_PROXIES", "10.0.0.0/8,x\x0e"),
                                      {"STEPLOG_LISTEN", "127.0.0.1:\x1b[31m"},
                                      {"STEPLOG_WORKERS", "\x7f"}}) {
        const auto problems = read(with(name, value)).problems;
        ASSERT_EQ(problems.size(), 1U) << name;
        for (const char c : problems.front())
            EXPECT_TRUE(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) << problems.front();
    }
}

class BadSetting : public ::testing::TestWithParam<Bad> {};

TEST_P(BadSetting, IsReportedByName) {
    const auto problems = read(with(GetParam().name, GetParam().value)).problems;
    ASSERT_EQ(problems.size(), 1U) << GetParam().name << "=" << GetParam().value;
    EXPECT_THAT(problems.front(), ::testing::StartsWith(std::string(GetParam().name) + ": "));
}

INSTANTIATE_TEST_SUITE_P(
    Table, BadSetting,
    ::testing::Values(
        Bad{"STEPLOG_DATABASE", "postgres://localhost/steplog"}, Bad{"STEPLOG_LISTEN", "8080"},
        Bad{"STEPLOG_LISTEN", "127.0.0.1:65536"}, Bad{"STEPLOG_LISTEN", "[::1"},
        Bad{"STEPLOG_LISTEN", "::1:80"}, Bad{"STEPLOG_WORKERS", "0"}, Bad{"STEPLOG_WORKERS", "-1"},
        Bad{"STEPLOG_WORKERS", "many"}, Bad{"STEPLOG_WORKERS", "1025"}, Bad{"STEPLOG_LEASE", "30"},
        Bad{"STEPLOG_LEASE", "30 s"}, Bad{"STEPLOG_LEASE", "1ms"}, Bad{"STEPLOG_MAX_BODY", "1MB"},
        Bad{"STEPLOG_MAX_BODY", "17MiB"}, Bad{"STEPLOG_MAX_BODY", "0"},
        Bad{"STEPLOG_HEADER_TIMEOUT", "0s"}, Bad{"STEPLOG_REQUEST_TIMEOUT", "soon"},
        Bad{"STEPLOG_IDLE_TIMEOUT", "1h"}, Bad{"STEPLOG_MAX_CONNECTIONS", "0"},
        Bad{"STEPLOG_MAX_CONNECTIONS_PER_ADDRESS", "-1"}, Bad{"STEPLOG_MAX_HEADER", "2MiB"},
        Bad{"STEPLOG_MAX_HEADER_COUNT", "0"}, Bad{"STEPLOG_MAX_QUEUE", "unlimited"},
        Bad{"STEPLOG_MAX_SIGNATURE_FAILURES", "0"}, Bad{"STEPLOG_CONNECT_TIMEOUT", "2m"},
        Bad{"STEPLOG_MAX_REPLY", "1KiB"}, Bad{"STEPLOG_RETENTION", "0s"},
        Bad{"STEPLOG_RECONCILE", "on"}, Bad{"STEPLOG_RECONCILE_AT", "0 25 * * *"},
        Bad{"STEPLOG_RECONCILE_AT", "9:00"}, Bad{"STEPLOG_TIME_ZONE", "Europe/Atlantis"},
        Bad{"STEPLOG_LOG_LEVEL", "loud"}, Bad{"STEPLOG_LOG_FORMAT", "xml"},
        Bad{"STEPLOG_RETRY_FOR", "forever"}, Bad{"STEPLOG_RETRY_ATTEMPTS", "0"},
        Bad{"STEPLOG_RETRY_BASE", "0s"}, Bad{"STEPLOG_RETRY_CAP", "500ms"},
        Bad{"STEPLOG_HTTP_TIMEOUT", "1h"}, Bad{"STEPLOG_TRUSTED_PROXIES", "proxy.internal"},
        Bad{"STEPLOG_TRUSTED_PROXIES", "10.0.0.0/33"}, Bad{"STRIPE_SECRET_KEY", ""},
        Bad{"STRIPE_SECRET_KEY", "pk_live_x"}, Bad{"STRIPE_SECRET_KEY", "whsec_x"},
        Bad{"STRIPE_SECRET_KEY", "sk_test_x\n"}, Bad{"STRIPE_WEBHOOK_SECRET", ""},
        Bad{"STRIPE_WEBHOOK_SECRET", "whsec_short"},
        Bad{"STRIPE_WEBHOOK_SECRET", "whsec_NotARealSecret0000,"},
        Bad{"STRIPE_API_BASE", "http://api.stripe.com"}, Bad{"STRIPE_API_BASE", "api.stripe.com"},
        Bad{"STRIPE_API_BASE", "https://user@api.stripe.com"},
        Bad{"STRIPE_API_BASE", "https://api.stripe.com/v1"}, Bad{"STRIPE_API_BASE", "https://"},
        Bad{"STRIPE_API_BASE", "https://host:0"},
        Bad{"STRIPE_API_BASE", "http://127.0.0.1.evil.example"},
        Bad{"STRIPE_API_BASE", "https://a b"}, Bad{"CLERK_SECRET_KEY", ""},
        Bad{"CLERK_SECRET_KEY", "pk_test_x"}, Bad{"CLERK_API_BASE", "ftp://x"},
        Bad{"EMAIL", "on"}));

TEST(Settings, ReportEverythingThatIsWrongTogether) {
    const auto problems = read({{"STEPLOG_LEASE", "soon"}, {"STEPLOG_WORKERS", "x"}}).problems;
    std::string all;
    for (const auto& problem : problems) all += problem + "\n";
    for (const auto* name :
         {"STEPLOG_LEASE", "STEPLOG_WORKERS", "STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET",
          "CLERK_SECRET_KEY", "RESEND_API_KEY", "EMAIL_FROM", "APP_URL"}) {
        EXPECT_THAT(all, HasSubstr(std::string(name) + ": "));
    }
    EXPECT_EQ(problems.size(), 8U) << all;
}

TEST(Settings, SayWhereTracesGo) {
    EXPECT_EQ(read(good()).settings.traces.base, "");
    EXPECT_EQ(read(good()).settings.traces.service, "steplog");
    auto environment = with("OTEL_EXPORTER_OTLP_ENDPOINT", "https://otlp.example:4318/api/");
    environment["OTEL_EXPORTER_OTLP_HEADERS"] = "api-key=a%20b, x-team=c=d";
    environment["OTEL_SERVICE_NAME"] = "shop";
    const auto all = read(environment);
    EXPECT_THAT(all.problems, IsEmpty());
    EXPECT_EQ(all.settings.traces.base, "https://otlp.example:4318");
    EXPECT_EQ(all.settings.traces.target, "/api/v1/traces");
    const std::vector<std::pair<std::string, std::string>> headers = {{"api-key", "a b"},
                                                                      {"x-team", "c=d"}};
    EXPECT_EQ(all.settings.traces.headers, headers);
    EXPECT_EQ(all.settings.traces.service, "shop");
    environment["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = "https://traces.example/otlp?x=1";
    EXPECT_EQ(read(environment).settings.traces.base, "https://traces.example");
    EXPECT_EQ(read(environment).settings.traces.target, "/otlp?x=1");
    EXPECT_EQ(read(with("OTEL_EXPORTER_OTLP_HEADERS", "a=b")).warnings.size(), 1U);
}

TEST(Settings, RefuseWhatTracesCannotBeSentTo) {
    for (const auto& [name, value] : std::vector<std::pair<std::string, std::string>>{
             {"OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"},
             {"OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.example:4318"},
             {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://key@collector.example/v1/traces"},
             {"OTEL_EXPORTER_OTLP_HEADERS", "api-key"},
             {"OTEL_EXPORTER_OTLP_HEADERS", "=hush"},
             {"OTEL_EXPORTER_OTLP_HEADERS", "api-key=hush%2"},
             {"OTEL_EXPORTER_OTLP_HEADERS", "api-key=hush%0d%0aHost: x"},
             {"OTEL_EXPORTER_OTLP_HEADERS", "content-type=text/hush"},
             {"OTEL_SERVICE_NAME", "a\nb"}}) {
        const auto problems = read(with(name, value)).problems;
        ASSERT_EQ(problems.size(), 1U) << name << "=" << value;
        EXPECT_THAT(problems[0], HasSubstr(name + ": "));
        EXPECT_THAT(problems[0], Not(HasSubstr("hush")));
    }
}

TEST(Settings, NeverRepeatASecretInAMessage) {
    Environment environment;
    for (const auto& variable : variables()) {
        if (variable.secret) environment[std::string(variable.name)] = "hush hush";
    }
    const auto all = read(environment);
    for (const auto& texts : {all.problems, all.warnings}) {
        for (const auto& text : texts) EXPECT_THAT(text, Not(HasSubstr("hush")));
    }
    for (const auto& line : describe(read(good()).settings)) {
        for (const auto& [name, value] : good()) {
            if (name == "EMAIL") continue;
            EXPECT_THAT(line, Not(HasSubstr(value)));
        }
    }
}

TEST(Settings, ShowTheLastFourOfAnApiKeyAndNothingOfAWebhookSecret) {
    const auto lines = describe(read(good()).settings);
    EXPECT_THAT(lines, ::testing::Contains("STRIPE_SECRET_KEY=…abcd"));
    EXPECT_THAT(lines, ::testing::Contains("STRIPE_WEBHOOK_SECRET=1 set"));
}

TEST(Settings, TakeSeveralWebhookSecrets) {
    const auto read_several =
        read(with("STRIPE_WEBHOOK_SECRET", "whsec_NotARealSecret0000, whsec_NotARealSecret0001"));
    EXPECT_THAT(read_several.problems, IsEmpty());
    EXPECT_THAT(read_several.settings.stripe_webhook_secrets,
                ElementsAre("whsec_NotARealSecret0000", "whsec_NotARealSecret0001"));
}

TEST(Settings, TakeSecretsFromFiles) {
    const SecretFile file("sk_live_FromAFile0000000000000000\n");
    auto environment = with("STRIPE_SECRET_KEY_FILE", file.path());
    environment.erase("STRIPE_SECRET_KEY");
    const auto from_file = read(environment);
    EXPECT_THAT(from_file.problems, IsEmpty());
    EXPECT_EQ(from_file.settings.stripe_secret_key, "sk_live_FromAFile0000000000000000");
    EXPECT_EQ(from_file.settings.livemode(), true);
}

TEST(Settings, SayWhatIsWrongWithASecretsFile) {
    const SecretFile empty("\n");
    const SecretFile large(std::string(70'000, 'x'));
    for (const auto& path :
         {empty.path(), large.path(), std::string("/nonexistent"), std::string("/")}) {
        auto environment = with("CLERK_SECRET_KEY_FILE", path);
        environment.erase("CLERK_SECRET_KEY");
        EXPECT_THAT(read(environment).problems, ElementsAre(HasSubstr("CLERK_SECRET_KEY_FILE: ")))
            << path;
    }
    EXPECT_THAT(read(with("CLERK_SECRET_KEY_FILE", large.path())).problems,
                ElementsAre(HasSubstr("CLERK_SECRET_KEY: is set beside CLERK_SECRET_KEY_FILE")));
}

TEST(Settings, DemandAWayOutForMailUnlessItIsOff) {
    auto environment = good();
    environment["EMAIL"] = "";
    environment["RESEND_API_KEY"] = "re_NotARealKey";
    environment["EMAIL_FROM"] = "Acme <hello@acme.example>";
    environment["APP_URL"] = "https://app.acme.example/sign-in";
    const auto with_mail = read(environment);
    EXPECT_THAT(with_mail.problems, IsEmpty());
    EXPECT_EQ(with_mail.settings.email_by, EmailBy::resend);
    EXPECT_EQ(with_mail.settings.app_url, "https://app.acme.example/sign-in");

    environment["EMAIL_FROM"] = "hello@acme.example\r\nBcc: x@y.example";
    environment["APP_URL"] = "javascript:alert(1)";
    EXPECT_THAT(read(environment).problems,
                ElementsAre(HasSubstr("EMAIL_FROM: "), HasSubstr("APP_URL: ")));

    environment.erase("RESEND_API_KEY");
    EXPECT_THAT(read(environment).problems,
                ::testing::Contains(HasSubstr("RESEND_API_KEY: is missing")));
}

Environment with_smtp(const std::string& url) {
    auto environment = with("EMAIL", "");
    environment["SMTP_URL"] = url;
    environment["EMAIL_FROM"] = "Acme <hello@acme.example>";
    environment["APP_URL"] = "https://app.acme.example/sign-in";
    return environment;
}

TEST(Settings, TakeSmtpInPlaceOfResend) {
    auto environment = with_smtp("smtp://user@mail.example");
    EXPECT_THAT(read(environment).problems, ElementsAre(HasSubstr("SMTP_PASSWORD: is missing")));
    environment["SMTP_PASSWORD"] = "NotARealPassword";
    environment["EMAIL_UNCERTAIN"] = "send_again";
    const auto [settings, problems, warnings] = read(environment);
    EXPECT_THAT(problems, IsEmpty());
    EXPECT_EQ(settings.email_by, EmailBy::smtp);
    EXPECT_EQ(settings.smtp.password, "NotARealPassword");
    EXPECT_EQ(settings.email_uncertain, Repeat::at_least_once);
    const auto lines = describe(settings);
    EXPECT_THAT(lines, ::testing::Contains("SMTP_URL=mail.example:587, STARTTLS, with a login"));
    EXPECT_THAT(lines, Not(::testing::Contains(HasSubstr("NotARealPassword"))));

    environment["RESEND_API_KEY"] = "re_NotARealKey";
    EXPECT_THAT(read(environment).problems,
                ElementsAre(HasSubstr("SMTP_URL: is set beside RESEND_API_KEY")));
    EXPECT_THAT(read(with_smtp("http://mail.example")).problems,
                ElementsAre(HasSubstr("SMTP_URL: must begin with smtp://")));
}

TEST(Settings, LookIntoTheTemplatesAndTheRedirect) {
    auto environment = with_smtp("smtp://localhost");
    environment["EMAIL_TEMPLATES"] = "/nonexistent";
    environment["EMAIL_TEST_REDIRECT"] = "nobody";
    EXPECT_THAT(read(environment).problems,
                ElementsAre(HasSubstr("EMAIL_TEMPLATES: cannot read the directory /nonexistent"),
                            HasSubstr("EMAIL_TEST_REDIRECT: is no address")));
    environment.erase("EMAIL_TEMPLATES");
    environment["EMAIL_TEST_REDIRECT"] = "dev@acme.example";
    environment["STRIPE_SECRET_KEY"] = "sk_live_51NotARealKey0000000001abcd";
    EXPECT_THAT(read(environment).warnings,
                ElementsAre(HasSubstr("EMAIL_TEST_REDIRECT: redirects nothing")));
}

TEST(Settings, TakeLoopbackOverPlainHttp) {
    for (const auto* url :
         {"http://127.0.0.1:4242", "http://localhost:4242/", "http://[::1]:4242"}) {
        EXPECT_THAT(read(with("STRIPE_API_BASE", url)).problems, IsEmpty()) << url;
    }
    EXPECT_EQ(read(with("STRIPE_API_BASE", "http://localhost:1/")).settings.stripe_api_base,
              "http://localhost:1");
}

TEST(Settings, WarnOfMisspeltNames) {
    EXPECT_THAT(read(with("STEPLOG_WORKER", "7")).warnings,
                ElementsAre("STEPLOG_WORKER: is not a setting; did you mean STEPLOG_WORKERS?"));
    EXPECT_THAT(read(with("STEPLOG_COFFEE_TEMPERATURE", "7")).warnings,
                ElementsAre(HasSubstr(
                    "STEPLOG_COFFEE_TEMPERATURE: is not a setting; workflow-server --help")));
    EXPECT_THAT(read(with("STEPLOG_SANDBOX", "http://127.0.0.1:1")).warnings, IsEmpty());
}

TEST(Settings, LookAtWhereTroublesAreReported) {
    for (const auto& [name, good] :
         {std::pair("SENTRY_DSN", "https://key@sentry.example/1"),
          {"ALERT_WEBHOOK_URL", "https://hooks.slack.com/services/T0/B0/x"},
          {"STEPLOG_ALERT_WAITING", "1h"}}) {
        EXPECT_THAT(read(with(name, good)).problems, IsEmpty()) << name;
        EXPECT_THAT(read(with(name, good)).warnings, IsEmpty()) << name;
    }
    for (const auto& [name, wrong] :
         {std::pair("SENTRY_DSN", "https://sentry.example/1"),
          {"ALERT_WEBHOOK_URL", "http://hooks.slack.com/services/hidden"},
          {"ALERT_WEBHOOK_SECRET", "whsec_hidden!"},
          {"ALERT_EMAIL_TO", "nobody"},
          {"STEPLOG_ALERT_WAITING", "soon"}}) {
        const auto problems = read(with(name, wrong)).problems;
        EXPECT_THAT(problems, ::testing::Contains(HasSubstr(std::string(name) + ": "))) << name;
        EXPECT_THAT(problems, ::testing::Each(Not(HasSubstr("hidden")))) << name;
    }
    auto environment = with("EMAIL", "off");
    environment["ALERT_EMAIL_TO"] = "ops@acme.example";
    EXPECT_THAT(read(environment).problems, ElementsAre(HasSubstr("ALERT_EMAIL_TO: needs")));
}

TEST(Settings, TakeSeveralAdminKeysAndNoShortOne) {
    EXPECT_THAT(read(with("ADMIN_API_KEY", "")).settings.admin_keys, IsEmpty());
    const auto two = read(with("ADMIN_API_KEY", "0123456789abcdef, its-successor-0000"));
    EXPECT_THAT(two.settings.admin_keys, ElementsAre("0123456789abcdef", "its-successor-0000"));
    EXPECT_THAT(two.problems, IsEmpty());
    EXPECT_THAT(two.warnings, IsEmpty());
    for (const auto* wrong :
         {"0123456789abcde", "0123456789abcdef,", "0123456789abcdef,short", "0123456789 abcdef"}) {
        const auto problems = read(with("ADMIN_API_KEY", wrong)).problems;
        EXPECT_THAT(problems, ElementsAre(HasSubstr("ADMIN_API_KEY: "))) << wrong;
        EXPECT_THAT(problems, Not(ElementsAre(HasSubstr("0123456789")))) << wrong;
    }
}

TEST(Settings, KnowThatALivemodeCanBeUnknown) {
    const auto unknown = read(with("STRIPE_SECRET_KEY", "key_from_somewhere_else"));
    EXPECT_EQ(unknown.settings.livemode(), std::nullopt);
    EXPECT_THAT(unknown.warnings, ElementsAre(HasSubstr("STRIPE_SECRET_KEY: ")));
    EXPECT_EQ(read(with("STRIPE_SECRET_KEY", "rk_live_0000000000000000")).settings.livemode(),
              true);
}

TEST(Settings, HaveAFlagForAllButSecrets) {
    std::vector<std::string> flags;
    for (const auto& variable : variables()) {
        EXPECT_EQ(flag_of(variable).empty(), variable.secret) << variable.name;
        flags.push_back(flag_of(variable));
    }
    for (const auto* flag :
         {"--database", "--listen", "--workers", "--max-body", "--stripe-api-base", "--email"}) {
        EXPECT_THAT(flags, ::testing::Contains(flag));
    }
}

TEST(Environment, LosesItsSecretsWhenScrubbed) {
    setenv("CLERK_SECRET_KEY", "sk_test_to_be_forgotten", 1);
    setenv("STEPLOG_LEASE", "30s", 1);
    const char* value = std::getenv("CLERK_SECRET_KEY");
    scrub_environment();
    EXPECT_STREQ(value, "");
    EXPECT_EQ(std::getenv("CLERK_SECRET_KEY"), nullptr);
    EXPECT_EQ(environment().count("CLERK_SECRET_KEY"), 0U);
    EXPECT_EQ(environment().at("STEPLOG_LEASE"), "30s");
    unsetenv("STEPLOG_LEASE");
}

TEST(SettingChecks, FindTheNearestName) {
    EXPECT_EQ(nearest("abcd", {"wxyz", "abxd"}), "abxd");
    EXPECT_EQ(nearest("abcdefgh", {"zzzzzzzz"}), std::nullopt);
}

}  // namespace
}  // namespace steplog::server
