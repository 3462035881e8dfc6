// See email_templates.h.
#include "steps/email_templates.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>

#include "steps/built_in_templates.h"
#include "steps/http_text.h"

namespace steplog::steps {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t file_bytes_max = 256 * 1024;
constexpr std::size_t subject_bytes_max = 255;
constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";

struct Kind {
    std::string_view ending;
    EmailTemplate WelcomeTexts::*member;
    EmailTemplate::Form form;
};
constexpr std::array<Kind, 3> kinds = {
    Kind{".subject.txt", &WelcomeTexts::subject, EmailTemplate::Form::text},
    Kind{".txt", &WelcomeTexts::text, EmailTemplate::Form::text},
    Kind{".html", &WelcomeTexts::html, EmailTemplate::Form::html}};

/// A subject's file ends with a line break, as files do; the subject does not.
std::string_view one_line(std::string_view text) {
    while (text.ends_with('\n') || text.ends_with('\r')) text.remove_suffix(1);
    if (text.find_first_not_of(" \t") == std::string_view::npos)
        throw TemplateError(1, "is empty; write the e-mail's subject into it");
    if (text.size() > subject_bytes_max)
        throw TemplateError(1, fmt::format("is longer than {} bytes", subject_bytes_max));
    if (std::any_of(text.begin(), text.end(), is_control))
        throw TemplateError(1, "must be one line without control characters");
    return text;
}

EmailTemplate parsed(const Kind& kind, std::string_view text) {
    const bool subject = kind.member == &WelcomeTexts::subject;
    return {subject ? one_line(text) : text, kind.form, welcome_placeholders()};
}

/// A file of a directory of templates: for which language, and what.
struct FileName {
    std::string language;
    const Kind* kind;
};
std::optional<FileName> understood(std::string_view name) {
    name.remove_prefix(std::string_view("welcome").size());
    for (const Kind& kind : kinds) {
        if (!name.ends_with(kind.ending)) continue;
        name.remove_suffix(kind.ending.size());
        if (name.empty()) return FileName{"", &kind};
        const std::string language = language_tag(name.substr(1));
        if (name.front() != '.' || language.empty()) return std::nullopt;
        return FileName{language, &kind};
    }
    return std::nullopt;
}

std::string file_name(const std::string& language, const Kind& kind) {
    return fmt::format("welcome{}{}{}", language.empty() ? "" : ".", language, kind.ending);
}

}  // namespace

const std::vector<std::string_view>& welcome_placeholders() {
    static const std::vector<std::string_view> all = {"first_name", "app_url", "email"};
    return all;
}

std::string language_tag(std::string_view text) {
    constexpr std::size_t length_max = 35;
    if (text.size() > length_max) return "";
    std::string tag;
    std::size_t part = 0;
    for (std::size_t begin = 0; begin <= text.size(); ++part) {
        const std::size_t end = std::min(text.find_first_of("-_", begin), text.size());
        std::string word = lower_case(text.substr(begin, end - begin));
        const bool letters = std::all_of(word.begin(), word.end(), is_letter);
        const bool plain = std::all_of(word.begin(), word.end(),
                                       [](char c) { return is_letter(c) || is_digit(c); });
        const bool fits = part == 0 ? letters && word.size() >= 2 && word.size() <= 3
                                    : plain && !word.empty() && word.size() <= 8;
        if (!fits) return "";
        // A region is written in capitals, a script with one.
        if (part > 0 && letters && word.size() == 2)
            for (char& c : word) c = static_cast<char>(c - 'a' + 'A');
        if (part > 0 && letters && word.size() == 4)
            word[0] = static_cast<char>(word[0] - 'a' + 'A');
        tag += part == 0 ? word : "-" + word;
        begin = end + 1;
    }
    return tag;
}

/// Reads a directory's files, and notes what is wrong with them.
struct WelcomeTemplates::FromFiles {
    Read read;
    std::map<std::string, std::map<std::string_view, bool>> seen;  // language -> ending

    void take(const fs::path& path) {
        const std::string name = path.filename().string();
        if (!name.starts_with("welcome.")) return;
        const auto file = understood(name);
        if (!file) {
            read.problems.push_back(
                fmt::format("{} is no name of a template; they are named like welcome.subject.txt, "
                            "welcome.txt, "
                            "welcome.html, and in German welcome.de.txt",
                            name));
            return;
        }
        seen[file->language][file->kind->ending] = true;
        try {
            EmailTemplate& place =
                read.templates.by_language_[file->language].*(file->kind->member);
            place = parsed(*file->kind, content_of(path));
            if (place.needs("first_name"))
                read.warnings.push_back(
                    fmt::format("{}: {{{{first_name}}}} leaves a gap where a customer gave no "
                                "name; write {{{{first_name|there}}}}, say",
                                name));
        } catch (const TemplateError& error) {
            read.problems.push_back(
                fmt::format("{}, line {}: {}", name, error.line(), error.what()));
        } catch (const std::runtime_error& error) {
            read.problems.push_back(fmt::format("{}: {}", name, error.what()));
        }
    }

    void look_for_missing() {
        seen[""];
        for (const auto& [language, endings] : seen)
            for (const Kind& kind : kinds)
                if (!endings.contains(kind.ending))
                    read.problems.push_back(
                        fmt::format("{} is missing", file_name(language, kind)));
    }

    static std::string content_of(const fs::path& path) {
        if (!fs::is_regular_file(path)) throw std::runtime_error("is no file");
        errno = 0;
        std::ifstream file(path, std::ios::binary);
        std::string content(file_bytes_max + 1, '\0');
        file.read(content.data(), static_cast<std::streamsize>(content.size()));
        if (!file.eof() || file.bad())
            throw std::runtime_error(errno != 0 ? std::strerror(errno) : "is larger than 256 KiB");
        content.resize(static_cast<std::size_t>(file.gcount()));
        if (content.starts_with(byte_order_mark)) content.erase(0, byte_order_mark.size());
        return content;
    }
};

WelcomeTemplates::WelcomeTemplates() {
    WelcomeTexts& texts = by_language_[""];
    texts.subject = parsed(kinds[0], built_in_welcome_subject);
    texts.text = parsed(kinds[1], built_in_welcome_text);
    texts.html = parsed(kinds[2], built_in_welcome_html);
}

WelcomeTemplates::Read WelcomeTemplates::read(const fs::path& directory) {
    FromFiles from;
    std::error_code error;
    std::vector<fs::path> paths;
    for (fs::directory_iterator entry(directory, error), end; !error && entry != end;
         entry.increment(error))
        paths.push_back(entry->path());
    if (error) {
        from.read.problems.push_back(
            fmt::format("cannot read the directory {}: {}", directory.string(), error.message()));
        return std::move(from.read);
    }
    std::sort(paths.begin(), paths.end());
    from.read.templates.by_language_.clear();
    for (const fs::path& path : paths) from.take(path);
    from.look_for_missing();
    return std::move(from.read);
}

const WelcomeTexts& WelcomeTemplates::texts(std::string_view language) const {
    std::string tag = language_tag(language);
    while (!tag.empty()) {
        const auto found = by_language_.find(tag);
        if (found != by_language_.end()) return found->second;
        const std::size_t last = tag.rfind('-');
        tag.resize(last == std::string::npos ? 0 : last);
    }
    return by_language_.at("");
}

std::vector<std::string> WelcomeTemplates::languages() const {
    std::vector<std::string> all;
    for (const auto& [language, texts] : by_language_)
        if (!language.empty()) all.push_back(language);
    return all;
}

}  // namespace steplog::steps
