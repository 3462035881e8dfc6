// The welcome e-mail where it is not Resend's: what becomes of one that may have left, in whose
// words it is, and to whom it goes in a test.
#include <fstream>

#include "tests/steps/provision_world.h"

namespace steplog::testing {
namespace {

/// A way out that folds nothing, and whose answers may be lost.
class PlainMail : public steps::EmailSender {
  public:
    std::string send(const Json& message, const steps::Call&) override {
        sent.push_back(message);
        if (lost_answers-- > 0)
            throw RetryableError("no answer to the whole message",
                                 {.code = "no_answer", .outcome = Outcome::unknown});
        return "<1@example.com>";
    }
    Ms key_window() const override { return Ms(0); }
    std::string provider() const override { return "smtp"; }

    std::vector<Json> sent;
    int lost_answers = 0;
};

class WelcomeByPlainMail : public ProvisionWorld {
  protected:
    WelcomeByPlainMail() { providers.email = &mail; }

    std::string buy(const std::string& locale = "") {
        const sandbox::Purchase purchase = world.purchase();
        Json event = Json::parse(body_of(purchase, "checkout.session.completed"));
        if (!locale.empty()) event["data"]["object"]["locale"] = locale;
        const std::string id = accept(event.dump());
        run();
        return id;
    }

    PlainMail mail;
};

TEST_F(WelcomeByPlainMail, WaitsForAPersonWhenNobodyKnowsWhetherItLeft) {
    mail.lost_answers = 1;
    const std::string id = buy();
    EXPECT_EQ(last(id).what, "stuck");
    EXPECT_EQ(last(id).error_code, "in_doubt");
    EXPECT_EQ(mail.sent.size(), 1u) << "not sent again by itself";
    resume(id);
    run();
    EXPECT_EQ(last(id).what, "finished");
    ASSERT_EQ(mail.sent.size(), 2u) << "by a person's word";
    EXPECT_EQ(mail.sent[0], mail.sent[1]);
}

TEST_F(WelcomeByPlainMail, IsSentAgainWhereThePolicySaysSo) {
    providers.email_uncertain = Repeat::at_least_once;
    mail.lost_answers = 1;
    EXPECT_EQ(last(buy()).what, "finished");
    ASSERT_EQ(mail.sent.size(), 2u);
    EXPECT_EQ(mail.sent[0], mail.sent[1]) << "the same bytes, and so the same Message-ID";
}

TEST_F(WelcomeByPlainMail, IsInTheCustomersLanguage) {
    const auto texts = directory.path() / "texts";
    std::filesystem::create_directory(texts);
    const auto write = [&](const std::string& name, const std::string& text) {
        std::ofstream(texts / ("welcome." + name)) << text;
    };
    for (const char* file : {"subject.txt", "txt", "html"}) {
        write(file, "Hello {{first_name|there}}\n");
        write(std::string("de.") + file, "Hallo {{first_name|du}}\n");
    }
    auto read = steps::WelcomeTemplates::read(texts);
    ASSERT_TRUE(read.problems.empty()) << read.problems.front();
    providers.email_templates = read.templates;
    buy("de-AT");
    ASSERT_EQ(mail.sent.size(), 1u);
    EXPECT_EQ(mail.sent[0].at("subject"), "Hallo Ada");
}

TEST_F(WelcomeByPlainMail, GoesToTheTestersInTheCustomersPlace) {
    providers.email_test_redirect = "team@example.com";
    buy();
    ASSERT_EQ(mail.sent.size(), 1u);
    EXPECT_EQ(mail.sent[0].at("to"), Json::array({"team@example.com"}));
    EXPECT_EQ(mail.sent[0].at("headers").at("X-Steplog-Original-To"), "ada@example.com");
}

}  // namespace
}  // namespace steplog::testing
