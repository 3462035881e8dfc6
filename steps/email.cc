// The welcome e-mail, and what an address must look like. Any thread.
#include "steps/email.h"

namespace steplog::steps {
namespace {

/// A subject is one line, whatever a value brings along.
std::string one_line(std::string text) {
    for (char& c : text)
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
    return text;
}

}  // namespace

Json render_welcome(const Welcome& welcome, const WelcomeTemplates& templates) {
    const WelcomeTexts& texts = templates.texts(welcome.language);
    const EmailTemplate::Values values = {
        {"first_name", welcome.first_name}, {"app_url", welcome.app_url}, {"email", welcome.to}};
    const bool redirected = !welcome.redirect_to.empty();
    Json message = {
        {"from", welcome.from},
        {"to", Json::array({redirected ? welcome.redirect_to : welcome.to})},
        {"subject", (redirected ? "[test] " : "") + one_line(texts.subject.fill(values))},
        {"text", texts.text.fill(values)},
        {"html", texts.html.fill(values)},
        {"headers", {{"Auto-Submitted", "auto-generated"}, {"X-Entity-Ref-ID", welcome.reference}}},
        {"tags", Json::array({Json::object({{"name", "kind"}, {"value", "welcome"}})})}};
    if (redirected) message["headers"]["X-Steplog-Original-To"] = welcome.to;
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
