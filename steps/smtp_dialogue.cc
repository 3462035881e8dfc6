// See smtp_dialogue.h.
#include "steps/smtp_dialogue.h"

#include <algorithm>
#include <array>

#include "steps/http_text.h"

namespace steplog::steps {
namespace {

constexpr int go_ahead = 354;
constexpr std::size_t line_bytes_max = 2000;  // longer ones say nothing that is wanted
constexpr std::array<std::string_view, 7> commands = {"EHLO", "HELO", "STARTTLS", "AUTH",
                                                      "MAIL", "RCPT", "DATA"};

/// "5.1.1" at the beginning of a reply's text, else "".
std::string status_in(std::string_view text) {
    const std::size_t end = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, end);
    const bool plain =
        word.size() >= 5 && word.size() <= 9 && word[1] == '.' &&
        std::all_of(word.begin(), word.end(), [](char c) { return is_digit(c) || c == '.'; }) &&
        std::count(word.begin(), word.end(), '.') == 2;
    return plain ? std::string(word) : "";
}

}  // namespace

void SmtpDialogue::we_said(std::string_view bytes) {
    const std::string_view verb = bytes.substr(0, bytes.find_first_of(" \r\n"));
    if (verb == "QUIT" || verb == "RSET") over_ = true;
    if (over_ || may_have_taken_) return;
    if (std::find(commands.begin(), commands.end(), verb) == commands.end()) return;
    command_ = verb;
    line_.clear();
    code_ = 0;
    status_.clear();
}

void SmtpDialogue::they_said(std::string_view bytes) {
    if (over_) return;
    for (const char c : bytes) {
        if (c == '\n') {
            take_line(line_);
            line_.clear();
        } else if (line_.size() < line_bytes_max) {
            line_ += c;
        }
    }
}

// "250-…" goes on, "250 …" ends a reply.
void SmtpDialogue::take_line(std::string_view line) {
    if (line.ends_with('\r')) line.remove_suffix(1);
    const bool is_reply = line.size() >= 3 && is_digit(line[0]) && is_digit(line[1]) &&
                          is_digit(line[2]) && (line.size() == 3 || line[3] == ' ');
    if (!is_reply) return;
    const int code = (line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0');
    if (command_ == "DATA" && code == go_ahead) {
        may_have_taken_ = true;
        return;
    }
    code_ = code;
    status_ = status_in(line.substr(std::min<std::size_t>(4, line.size())));
}

}  // namespace steplog::steps
