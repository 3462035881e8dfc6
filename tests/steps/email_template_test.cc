// The welcome e-mail's words: placeholders, languages, a directory of them, tests redirected.
#include "steps/email_templates.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "steps/email.h"
#include "steps/json_reading.h"
#include "tests/support/temporary_directory.h"

namespace steplog::steps {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::TemporaryDirectory;

class TemplateDirectory : public ::testing::Test {
  protected:
    void write(const std::string& name, const std::string& content) {
        std::ofstream(directory.path() / name, std::ios::binary) << content;
    }
    void write_language(const std::string& infix, const std::string& greeting) {
        write("welcome" + infix + ".subject.txt", greeting + "\n");
        write("welcome" + infix + ".txt", greeting + " {{first_name|du}} {{email}}\n");
        write("welcome" + infix + ".html",
              "<b>" + greeting + " {{ first_name | you &amp; me }}</b>");
    }
    WelcomeTemplates::Read read() { return WelcomeTemplates::read(directory.path()); }
    static Json render(const WelcomeTemplates& templates, const std::string& language,
                       const std::string& name = "Ada") {
        return render_welcome({.to = "ada@example.com", .first_name = name, .language = language},
                              templates);
    }

    const TemporaryDirectory directory;
};

TEST_F(TemplateDirectory, SpeaksTheCustomersLanguageOrTheNextBest) {
    write_language("", "Hello");
    write_language(".de", "Hallo");
    write_language(".pt_br", "Oi");
    write("README", "not ours");
    const auto made = read();
    ASSERT_THAT(made.problems, IsEmpty());
    EXPECT_THAT(made.templates.languages(), ElementsAre("de", "pt-BR"));
    for (const auto& [language, subject] : {std::pair("de", "Hallo"),
                                            {"de-AT", "Hallo"},
                                            {"DE_at", "Hallo"},
                                            {"pt-BR", "Oi"},
                                            {"pt", "Hello"},
                                            {"", "Hello"},
                                            {"fr", "Hello"},
                                            {"../x", "Hello"}})
        EXPECT_EQ(text_at(render(made.templates, language), {"subject"}), subject) << language;
}

TEST_F(TemplateDirectory, FillsInOnceAndEscapesInHtmlOnly) {
    write_language("", "Hello");
    const auto made = read();
    const Json message = render(made.templates, "", "<{{email}}>");
    EXPECT_EQ(text_at(message, {"text"}), "Hello <{{email}}> ada@example.com\n");
    EXPECT_EQ(text_at(message, {"html"}), "<b>Hello &lt;{{email}}&gt;</b>");
    EXPECT_EQ(text_at(render(made.templates, "", ""), {"html"}), "<b>Hello you &amp; me</b>");
}

TEST_F(TemplateDirectory, TellsWhatIsWrongByNameAndLine) {
    write_language("", "Hello");
    write("welcome.txt", "one\ntwo {{firstname}}\n");
    write("welcome.html", "{{first_name");
    write("welcome.de.txt", "Hallo {{first_name}}");
    write("welcome.deutsch.txt", "Hallo");
    write("welcome.subject.txt", "two\nlines\n");
    const auto made = read();
    EXPECT_THAT(made.problems,
                ElementsAre(HasSubstr("welcome.deutsch.txt is no name of a template"),
                            HasSubstr("welcome.html, line 1: "),
                            HasSubstr("welcome.subject.txt, line 1: must be one line"),
                            HasSubstr("welcome.txt, line 2: {{firstname}} is no placeholder"),
                            "welcome.de.subject.txt is missing", "welcome.de.html is missing"));
    EXPECT_THAT(made.warnings,
                ElementsAre(HasSubstr("welcome.de.txt: {{first_name}} leaves a gap")));
    EXPECT_THAT(WelcomeTemplates::read("/nonexistent").problems,
                ElementsAre(HasSubstr("cannot read the directory /nonexistent")));
}

TEST_F(TemplateDirectory, TakesUtf8Only) {
    write_language("", "Hello");
    write("welcome.txt",
          "\xef\xbb\xbf"
          "fine");
    EXPECT_THAT(read().problems, IsEmpty());
    EXPECT_EQ(text_at(render(read().templates, ""), {"text"}), "fine");
    write("welcome.txt",
          "one\nGr\xfc\xdf"
          "e");
    EXPECT_THAT(read().problems, ElementsAre(HasSubstr("welcome.txt, line 2: holds bytes")));
}

TEST(TestRedirect, SendsToTheTesterInPlaceOfTheCustomer) {
    const Json message = render_welcome(
        {.to = "ada@example.com", .redirect_to = "dev@acme.example"}, WelcomeTemplates());
    EXPECT_EQ(value_at(message, {"to"}), Json::array({"dev@acme.example"}));
    EXPECT_EQ(text_at(message, {"subject"}), "[test] Your account is ready");
    EXPECT_EQ(text_at(message, {"headers", "X-Steplog-Original-To"}), "ada@example.com");
}

}  // namespace
}  // namespace steplog::steps
