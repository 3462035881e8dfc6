// The guard is a SAX handler for nlohmann/json's own parser, so that guard and parser cannot read
// one text differently; what that parser is too generous with is refused before it runs.
#include "engine/json_guard.h"

#include <algorithm>

namespace steplog {
namespace {

/// Remembers where it stands, never what it read, but for the keys of the objects that are open.
class Guard : public nlohmann::json_sax<Json> {
  public:
    const std::string& why_not() const { return why_not_; }

    bool null() override { return value(); }
    bool boolean(bool) override { return value(); }
    bool number_integer(number_integer_t) override { return value(); }
    bool number_unsigned(number_unsigned_t) override { return value(); }
    bool number_float(number_float_t, const string_t&) override { return value(); }
    bool binary(binary_t&) override { return refuse("not JSON"); }
    bool string(string_t& text) override { return without_nul(text) && value(); }

    bool start_object(std::size_t) override { return open(); }
    bool key(string_t& text) override {
        if (!without_nul(text)) return false;
        keys_.back().push_back(std::move(text));
        return true;
    }
    bool end_object() override {
        auto& keys = keys_.back();
        std::sort(keys.begin(), keys.end());
        const bool twice = std::adjacent_find(keys.begin(), keys.end()) != keys.end();
        keys_.pop_back();
        return twice ? refuse("a key appears twice in one object") : true;
    }
    bool start_array(std::size_t) override { return open(); }
    bool end_array() override {
        keys_.pop_back();
        return true;
    }

    bool parse_error(std::size_t, const std::string&,
                     const nlohmann::detail::exception& error) override {
        constexpr int number_out_of_range = 406;
        return refuse(error.id == number_out_of_range ? "a number is out of range" : "not JSON");
    }

  private:
    bool refuse(const char* why) {
        why_not_ = why;
        return false;
    }
    bool value() { return ++nodes_ <= json_nodes_max ? true : refuse("too many values"); }
    bool open() {
        if (keys_.size() == json_depth_max) return refuse("nested too deep");
        keys_.emplace_back();
        return value();
    }
    bool without_nul(const std::string& text) {
        return text.find('\0') == std::string::npos ? true
                                                    : refuse("a string holds a NUL character");
    }

    std::vector<std::vector<std::string>> keys_;  // one list for each open array or object
    std::size_t nodes_ = 0;
    std::string why_not_;
};

/// A parser gathers a number's digits whole before it looks at them; this one pass over the text
/// bounds what it can be made to gather.
bool has_overlong_number(std::string_view text) {
    std::size_t length = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (c == '"') {
            length = 0;
            for (++i; i < text.size() && text[i] != '"'; ++i) {
                if (text[i] == '\\') ++i;
            }
        } else if ((c >= '0' && c <= '9') || c == '.' || c == '-' || c == '+' || c == 'e' ||
                   c == 'E') {
            if (++length > json_number_length_max) return true;
        } else {
            length = 0;
        }
    }
    return false;
}

/// What nlohmann/json would let pass: it skips a byte order mark and takes a NUL for the end.
const char* refused_at_sight(std::string_view text) {
    if (text.empty()) return "empty";
    if (text.substr(0, 3) == "\xEF\xBB\xBF") return "begins with a byte order mark";
    if (text.find('\0') != std::string_view::npos) return "holds a NUL byte";
    if (has_overlong_number(text)) return "a number is too long";
    return nullptr;
}

}  // namespace

std::optional<Json> parse_guarded(std::string_view text, std::string& why_not) {
    why_not.clear();
    if (const char* why = refused_at_sight(text)) {
        why_not = why;
        return std::nullopt;
    }
    Guard guard;
    if (!Json::sax_parse(text, &guard)) {
        why_not = guard.why_not().empty() ? "not JSON" : guard.why_not();
        return std::nullopt;
    }
    Json document = Json::parse(text, nullptr, false);
    if (document.is_discarded()) {
        why_not = "not JSON";
        return std::nullopt;
    }
    return document;
}

}  // namespace steplog
