// Texts with placeholders, as the welcome e-mail's are: parsed and checked once, filled in often.
// {{name}} stands for a value, {{name|what stands there without one}} for one that may be missing.
// Used by email_templates. Any thread.
#pragma once

#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace steplog::steps {

/// What is wrong with a text, and in which of its lines (from 1 on). The message repeats at most a
/// placeholder's name.
class TemplateError : public std::runtime_error {
  public:
    TemplateError(int line, const std::string& message)
        : std::runtime_error(message), line_(line) {}
    int line() const { return line_; }

  private:
    int line_;
};

/// Text as it stands in HTML: &, <, > and both quotes escaped.
std::string escape_html(std::string_view text);

class EmailTemplate {
  public:
    /// What a value becomes: itself, or what stands for it in HTML. The template's own words,
    /// fallbacks included, are its author's and stay as they are.
    enum class Form { text, html };
    using Values = std::map<std::string, std::string, std::less<>>;

    EmailTemplate() = default;

    /// Throws TemplateError: a placeholder that is none of `known`, or has no end; text that is not
    /// UTF-8.
    EmailTemplate(std::string_view text, Form form, const std::vector<std::string_view>& known);

    /// A value that is absent or empty gives way to its fallback, or to nothing. Values are not
    /// looked into for placeholders.
    std::string fill(const Values& values) const;

    /// True where this value stands without a fallback.
    bool needs(std::string_view name) const;

  private:
    struct Piece {
        std::string words;  // the template's own; of a placeholder its fallback
        std::string name;   // "": no placeholder
        bool has_fallback = false;
    };
    static Piece placeholder(std::string_view inside, int line,
                             const std::vector<std::string_view>& known);

    Form form_ = Form::text;
    std::vector<Piece> pieces_;
};

}  // namespace steplog::steps
