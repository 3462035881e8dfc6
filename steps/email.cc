// The welcome e-mail's words, and what an address must look like. Any thread.
#include "steps/email.h"

#include <fmt/format.h>

#include <algorithm>

namespace steplog::steps {
namespace {

std::string escape_html(std::string_view text) {
    std::string escaped;
    for (const char c : text) {
        switch (c) {
            case '&':
                escaped += "&amp;";
                break;
            case '<':
                escaped += "&lt;";
                break;
            case '>':
                escaped += "&gt;";
                break;
            case '"':
                escaped += "&quot;";
                break;
            case '\'':
                escaped += "&#39;";
                break;
            default:
                escaped += c;
        }
    }
    return escaped;
}

}  // namespace

Json render_welcome(const Welcome& welcome) {
    const std::string greeting =
        welcome.first_name.empty() ? std::string("Hello") : "Hello " + welcome.first_name;
    Json message = {
        {"from", welcome.from},
        {"to", Json::array({welcome.to})},
        {"subject", "Your account is ready"},
        {"text", fmt::format("{},\n\n"
                             "thank you for your purchase. Your account is ready.\n\n"
                             "Sign in with this e-mail address:\n{}\n",
                             greeting, welcome.app_url)},
        {"html", fmt::format("<p>{},</p>\n"
                             "<p>thank you for your purchase. Your account is ready.</p>\n"
                             "<p>Sign in with this e-mail address: <a href=\"{}\">{}</a></p>\n",
                             escape_html(greeting), escape_html(welcome.app_url),
                             escape_html(welcome.app_url))},
        {"headers", {{"Auto-Submitted", "auto-generated"}, {"X-Entity-Ref-ID", welcome.reference}}},
        {"tags", Json::array({Json::object({{"name", "kind"}, {"value", "welcome"}})})}};
    if (!welcome.reply_to.empty()) message["reply_to"] = welcome.reply_to;
    return message;
}

std::string email_problem(std::string_view address) {
    if (address.empty()) return "it is empty";
    if (address.size() > 254) return "it is longer than 254 bytes";
    for (const char c : address) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte <= 0x20 || byte == 0x7f) return "it has a space or a control character";
        if (std::string_view("<>()[],;:\"\\").find(c) != std::string_view::npos) {
            return "it has a character that no address has";
        }
    }
    const std::size_t at = address.find('@');
    if (at == std::string_view::npos || address.find('@', at + 1) != std::string_view::npos) {
        return "it does not have exactly one @";
    }
    const std::string_view local = address.substr(0, at);
    const std::string_view domain = address.substr(at + 1);
    if (local.empty() || local.size() > 64) return "the part before the @ is empty or too long";
    if (domain.empty() || domain.front() == '.' || domain.front() == '-' || domain.back() == '.' ||
        domain.find("..") != std::string_view::npos) {
        return "the part after the @ is no domain";
    }
    return "";
}

}  // namespace steplog::steps
