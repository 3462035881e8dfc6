// The welcome e-mail's words in all the languages there are: built in, or from a directory that a
// user fills. welcome.subject.txt, welcome.txt and welcome.html are for everybody;
// welcome.de.subject.txt, welcome.de.txt, welcome.de.html for those who read German. Read once at
// start. Any thread.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "steps/email_template.h"

namespace steplog::steps {

/// What can stand between {{ and }}.
const std::vector<std::string_view>& welcome_placeholders();

/// "de-AT" for "de_at" and the like; "" for what is no language tag (RFC 5646), "auto" included.
std::string language_tag(std::string_view text);

struct WelcomeTexts {
    EmailTemplate subject, text, html;
};

class WelcomeTemplates {
  public:
    /// The built-in ones (steps/templates/), in English.
    WelcomeTemplates();

    struct Read;
    /// Those of a directory. A language's three files must all be there, and those without a
    /// language in any case; other files whose names do not begin with "welcome." are left alone.
    static Read read(const std::filesystem::path& directory);

    /// The texts for a language tag: de-AT, else de, else those for everybody.
    const WelcomeTexts& texts(std::string_view language) const;

    /// Those that have texts of their own, in alphabetical order.
    std::vector<std::string> languages() const;

  private:
    struct FromFiles;
    std::map<std::string, WelcomeTexts, std::less<>> by_language_;  // "": for everybody
};

struct WelcomeTemplates::Read {
    WelcomeTemplates templates;         // to be used only when there are no problems
    std::vector<std::string> problems;  // "welcome.de.txt, line 3: …"
    std::vector<std::string> warnings;
};

}  // namespace steplog::steps
