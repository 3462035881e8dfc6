// What people are told, and in whose form: Slack's, Discord's, anybody's with a signature, Sentry's
// envelope, a mail.
#include "steps/alert_channels.h"

#include <gmock/gmock.h>

#include <fstream>

#include "steps/signing.h"
#include "tests/steps/scripted_transport.h"
#include "tests/support/manual_clock.h"

namespace steplog::steps {
namespace {

using steplog::testing::ManualClock;
using steplog::testing::retryable;
using steplog::testing::ScriptedTransport;
using ::testing::HasSubstr;
using ::testing::Not;

const Alert stuck{.cause = {.kind = TroubleKind::stuck,
                            .workflow = "provision_customer",
                            .step = "create_clerk_user",
                            .error_code = "retries_exhausted"},
                  .stage = AlertStage::begun,
                  .count = 3,
                  .since_ms = 1'767'225'600'000,
                  .at_ms = 1'767'225'605'000};

Alert at_stage(AlertStage stage) {
    Alert alert = stuck;
    alert.stage = stage;
    alert.at_ms = alert.since_ms + 720'000;
    return alert;
}

TEST(AlertWords, SayWhatHappenedAndWhatToDo) {
    EXPECT_EQ(headline(stuck),
              "CRITICAL: USER NOT CREATED: 3 instances of provision_customer are stuck at "
              "create_clerk_user (retries_exhausted)");
    EXPECT_THAT(advice(stuck),
                HasSubstr("workflow-resume --all --workflow provision_customer --step "
                          "create_clerk_user --error-code retries_exhausted"));
    EXPECT_EQ(headline(at_stage(AlertStage::over)),
              "over after 12 min: nothing of provision_customer is stuck at create_clerk_user "
              "(retries_exhausted) any more; there were 3");
    EXPECT_EQ(advice(at_stage(AlertStage::over)), "");
    Alert loop = stuck;
    loop.cause.step = std::string("refund") + any_of_loop;
    EXPECT_THAT(advice(loop), Not(HasSubstr("--step")))
        << "no instance stands at a step of that name";
    Alert mail = stuck;
    mail.cause.step = "send_email";
    mail.count = 1;
    EXPECT_THAT(headline(mail), HasSubstr("CRITICAL: 1 instance of provision_customer is stuck"))
        << "that one has an account";
}

TEST(AlertWords, AreThereForEachKindAtEachStage) {
    for (const auto kind :
         {TroubleKind::stuck, TroubleKind::provider_down, TroubleKind::waiting,
          TroubleKind::quarantined, TroubleKind::conflict, TroubleKind::store_paused})
        for (const auto stage : {AlertStage::begun, AlertStage::grown, AlertStage::over}) {
            const Alert alert{.cause = {.kind = kind}, .stage = stage, .count = 2};
            EXPECT_NE(headline(alert), "") << to_string(kind);
            EXPECT_EQ(advice(alert).empty(), stage == AlertStage::over) << to_string(kind);
            EXPECT_EQ(headline(Json(alert).get<Alert>()), headline(alert));
        }
    EXPECT_THROW(Json({{"kind", "odd"}}).get<Alert>(), Json::exception);
}

class Channel : public ::testing::Test {
  protected:
    std::unique_ptr<AlertChannel> webhook(const std::string& url, const std::string& secret = "") {
        return alert_webhook(transport, clock, {.url = url, .secret = secret, .host = "pay-1"});
    }
    void taken() { transport.answer(200, "ok"); }
    Json sent(std::size_t n = 0) const { return Json::parse(transport.requests.at(n).body); }

    ScriptedTransport transport;
    ManualClock clock;
};

TEST_F(Channel, SpeaksAsSlackAndDiscordListen) {
    taken();
    webhook("https://hooks.slack.com/services/T0/B0/x")->tell(stuck, "key", {});
    EXPECT_EQ(transport.requests.at(0).base, "https://hooks.slack.com");
    EXPECT_EQ(transport.requests.at(0).target, "/services/T0/B0/x");
    EXPECT_EQ(sent(), Json({{"text", headline(stuck) + "\n" + advice(stuck)}}));
    transport.answer(204, "");
    webhook("https://discord.com/api/webhooks/1/x")->tell(stuck, "key", {});
    EXPECT_EQ(sent(1), Json({{"content", headline(stuck) + "\n" + advice(stuck)}}));
}

TEST_F(Channel, TellsAnybodyElseInPartsWithATextThatSlackCompatibleOnesShow) {
    taken();
    webhook("https://ops.example/alerts?team=pay")->tell(stuck, "key", {});
    EXPECT_EQ(transport.requests.at(0).target, "/alerts?team=pay");
    const Json body = sent();
    EXPECT_EQ(body.at("type"), "steplog.alert");
    EXPECT_EQ(body.at("text"), headline(stuck) + "\n" + advice(stuck));
    EXPECT_EQ(body.at("cause"), "stuck/provision_customer/create_clerk_user/retries_exhausted");
    EXPECT_EQ(body.at("urgency"), "critical");
    EXPECT_EQ(body.at("stage"), "begun");
    EXPECT_EQ(body.at("count"), 3);
    EXPECT_EQ(body.at("since"), "2026-01-01T00:00:00.000Z");
    EXPECT_EQ(body.at("host"), "pay-1");
    EXPECT_EQ(transport.header(0, "webhook-signature"), "") << "there is no secret";
}

TEST_F(Channel, SignsAsStandardWebhooksHasIt) {
    const std::string secret = "whsec_nzxdfhorTG2ODxEiM0RVZneImaq7zN3u";
    const auto channel = webhook("https://ops.example/", secret);
    taken();
    channel->tell(stuck, "msg_1", {});
    EXPECT_EQ(transport.header(0, "webhook-id"), "msg_1");
    const std::int64_t time_s = clock.now_ms() / 1000;
    EXPECT_EQ(transport.header(0, "webhook-timestamp"), std::to_string(time_s));
    EXPECT_EQ(transport.header(0, "webhook-signature"),
              standard_webhook_signature(secret, "msg_1", time_s, transport.requests.at(0).body));
    clock.advance(std::chrono::minutes(1));
    taken();
    channel->tell(stuck, "msg_1", {});
    EXPECT_EQ(transport.header(1, "webhook-id"), "msg_1") << "the receiver folds attempts by it";
    EXPECT_NE(transport.header(1, "webhook-signature"), transport.header(0, "webhook-signature"));
}

// What the official library made, where it used one signature.
TEST(StandardWebhookSignature, IsTheOfficialLibrarys) {
    std::ifstream file(STEPLOG_SOURCE_DIR "/tests/data/vectors/standard-webhooks.vectors.json");
    const Json vectors = Json::parse(file);
    int seen = 0;
    for (const Json& vector : vectors.at("vectors")) {
        const auto text = [&](const char* name) { return vector.at(name).get<std::string>(); };
        if (!vector.at("valid").get<bool>() || text("signature").find(' ') != std::string::npos)
            continue;
        ++seen;
        EXPECT_EQ(
            standard_webhook_signature(text("secret"), text("id"),
                                       vector.at("timestamp").get<std::int64_t>(), text("body")),
            text("signature"))
            << text("name");
    }
    EXPECT_GE(seen, 3);
}

TEST_F(Channel, TriesAgainWhatMayPassAndGivesUpWhatWillNot) {
    const auto channel = webhook("https://ops.example/");
    transport.answer(429, "", {{"Retry-After", "30"}});
    const auto details = retryable([&] { channel->tell(stuck, "key", {}); });
    EXPECT_EQ(details.retry_after, Ms(30'000));
    transport.answer(503, "");
    retryable([&] { channel->tell(stuck, "key", {}); });
    for (const int status : {400, 401, 403, 404, 410}) {
        transport.answer(status, "invalid_token");
        EXPECT_THROW(channel->tell(stuck, "key", {}), PermanentError) << status;
    }
}

TEST_F(Channel, HandsSentryAnEventThatItGroupsByCause) {
    transport.answer(200, R"({"id":"x"})");
    const auto channel = sentry(transport, clock,
                                parse_sentry_dsn("https://abc123@o1.ingest.sentry.io/42"), "pay-1");
    channel->tell(stuck, "key", {});
    const auto request = transport.requests.at(0);
    EXPECT_EQ(request.base, "https://o1.ingest.sentry.io");
    EXPECT_EQ(request.target, "/api/42/envelope/");
    EXPECT_EQ(transport.header(0, "Content-Type"), "application/x-sentry-envelope");
    EXPECT_THAT(transport.header(0, "X-Sentry-Auth"),
                HasSubstr("sentry_version=7, sentry_key=abc123,"));
    std::istringstream lines(request.body);
    std::string head, item, payload;
    std::getline(lines, head);
    std::getline(lines, item);
    std::getline(lines, payload);
    EXPECT_EQ(Json::parse(item), Json({{"type", "event"}, {"length", payload.size()}}));
    const Json event = Json::parse(payload);
    EXPECT_EQ(event.at("event_id"), Json::parse(head).at("event_id"));
    EXPECT_THAT(event.at("event_id").get<std::string>(), ::testing::MatchesRegex("[0-9a-f]{32}"));
    EXPECT_EQ(event.at("level"), "fatal");
    EXPECT_THAT(event.at("message").at("formatted").get<std::string>(),
                HasSubstr("USER NOT CREATED"));
    EXPECT_EQ(event.at("fingerprint"),
              Json({"steplog", "stuck/provision_customer/create_clerk_user/retries_exhausted"}));
    EXPECT_EQ(event.at("tags").at("step"), "create_clerk_user");
    transport.answer(200, "{}");
    channel->tell(stuck, "key", {});
    EXPECT_EQ(transport.requests.at(1).body.substr(0, 47), request.body.substr(0, 47))
        << "a second attempt has the same event id";
}

TEST_F(Channel, KeepsToSentrysLimits) {
    const auto channel =
        sentry(transport, clock, parse_sentry_dsn("https://k@sentry.example/1"), "");
    transport.answer(
        200, "{}", {{"X-Sentry-Rate-Limits", "60:transaction:key, 90:error;default:organization"}});
    channel->tell(stuck, "1", {});
    EXPECT_EQ(retryable([&] { channel->tell(stuck, "2", {}); }).retry_after, Ms(90'000));
    EXPECT_EQ(transport.requests.size(), 1u) << "it was not even asked";
    clock.advance(std::chrono::seconds(90));
    transport.answer(200, "{}", {{"X-Sentry-Rate-Limits", "60:transaction:key"}});
    channel->tell(stuck, "2", {});
    transport.answer(429, "");
    retryable([&] { channel->tell(stuck, "3", {}); });
    EXPECT_EQ(retryable([&] { channel->tell(stuck, "3", {}); }).retry_after, Ms(60'000));
    clock.advance(std::chrono::seconds(60));
    transport.answer(200, "{}", {{"X-Sentry-Rate-Limits", "5::organization"}});
    channel->tell(stuck, "3", {});
    EXPECT_EQ(retryable([&] { channel->tell(stuck, "4", {}); }).retry_after, Ms(5000));
}

TEST(SentryDsnText, IsTakenApart) {
    const SentryDsn behind = parse_sentry_dsn("https://k:old@sentry.example/errors/7");
    EXPECT_EQ(behind.base, "https://sentry.example");
    EXPECT_EQ(behind.path, "/errors/api/7/envelope/");
    EXPECT_EQ(behind.key, "k");
    EXPECT_EQ(parse_sentry_dsn("http://k@127.0.0.1:9000/42").base, "http://127.0.0.1:9000");
    for (const std::string wrong :
         {"", "sentry.example/1", "https://sentry.example/1", "https://k@sentry.example",
          "https://k@sentry.example/", "https://k@sentry.example/x", "https://@sentry.example/1",
          "https://a b@sentry.example/1", "http://k@sentry.example/1"})
        EXPECT_THROW(parse_sentry_dsn(wrong), std::invalid_argument) << wrong;
}

TEST(WebAddressText, KeepsPathAndQuery) {
    EXPECT_EQ(parse_web_address("https://a.example").target, "/");
    EXPECT_EQ(parse_web_address("https://a.example?x=1").target, "/?x=1");
    EXPECT_EQ(parse_web_address("https://a.example/b/c?d#e").target, "/b/c?d");
    for (const std::string wrong : {"a.example/b", "http://a.example/b", "https://a.example/b c"})
        EXPECT_THROW(parse_web_address(wrong), std::invalid_argument) << wrong;
}

class KeptMails : public EmailSender {
  public:
    std::string send(const Json& message, const Call& call) override {
        messages.push_back(message);
        keys.push_back(call.idempotency_key);
        return "id";
    }
    Ms key_window() const override { return Ms(0); }
    std::string provider() const override { return "mailbox"; }
    std::vector<Json> messages;
    std::vector<std::string> keys;
};

TEST(AlertEmailChannel, MailsUnderTheKeyOfTheTelling) {
    KeptMails mailbox;
    alert_email(mailbox, "Acme <a@acme.example>", "ops@acme.example")->tell(stuck, "key", {});
    EXPECT_EQ(mailbox.keys.at(0), "key");
    const Json& message = mailbox.messages.at(0);
    EXPECT_EQ(message.at("to"), Json({"ops@acme.example"}));
    EXPECT_THAT(message.at("subject").get<std::string>(), HasSubstr("[Steplog] CRITICAL: "));
    EXPECT_THAT(message.at("text").get<std::string>(), HasSubstr("workflow-resume"));
}

}  // namespace
}  // namespace steplog::steps
