// The words of SQL: sqlite.org/lang_keywords.html and sqlite.org/lang_comment.html.
#include "engine/check_constraints.h"

#include <strings.h>

#include <cctype>

namespace steplog {
namespace {

class SqlWords {
  public:
    explicit SqlWords(std::string_view sql) : sql_(sql) {}

    /// The next word, sign, literal or quoted name; a run of blanks and comments is one " ". Empty
    /// at the end.
    std::string_view next() {
        if (at_ >= sql_.size()) return {};
        const std::size_t blank = blank_end(at_);
        if (blank > at_) {
            while (blank_end(at_) > at_) at_ = blank_end(at_);
            return " ";
        }
        const std::size_t begin = at_;
        at_ = word_end(at_);
        return sql_.substr(begin, at_ - begin);
    }

  private:
    std::size_t behind(std::string_view end, std::size_t from) const {
        const std::size_t found = sql_.find(end, from);
        return found == sql_.npos ? sql_.size() : found + end.size();
    }

    std::size_t blank_end(std::size_t at) const {
        if (at >= sql_.size()) return at;
        if (std::isspace(static_cast<unsigned char>(sql_[at]))) return at + 1;
        if (sql_.substr(at, 2) == "--") return behind("\n", at);
        if (sql_.substr(at, 2) == "/*") return behind("*/", at + 2);
        return at;
    }

    static bool in_word(char c) {
        return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '$' ||
               static_cast<unsigned char>(c) >= 0x80;
    }

    // A quote that is doubled within a literal ends it and begins the next: that is the same here.
    std::size_t word_end(std::size_t at) const {
        const char first = sql_[at];
        if (first == '[') return behind("]", at);
        if (first == '\'' || first == '"' || first == '`')
            return behind(std::string_view(&sql_[at], 1), at + 1);
        std::size_t end = at + 1;
        while (in_word(first) && end < sql_.size() && in_word(sql_[end])) ++end;
        return end;
    }

    const std::string_view sql_;
    std::size_t at_ = 0;
};

// From its first parenthesis to the one that closes that.
std::string parenthesised(SqlWords& words) {
    std::string text;
    int depth = 0;
    for (auto word = words.next(); !word.empty(); word = words.next()) {
        if (word == "(") ++depth;
        if (depth > 0) text += word;
        if (word == ")" && --depth <= 0) break;
    }
    return text;
}

bool is_check(std::string_view word) {
    constexpr std::string_view check = "check";
    return word.size() == check.size() && strncasecmp(word.data(), check.data(), check.size()) == 0;
}

}  // namespace

std::vector<std::string> check_constraints(std::string_view create_table) {
    std::vector<std::string> found;
    SqlWords words(create_table);
    for (auto word = words.next(); !word.empty(); word = words.next())
        if (is_check(word)) found.push_back(parenthesised(words));
    return found;
}

}  // namespace steplog
