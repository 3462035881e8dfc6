// Taking requests apart and putting replies together. Used by every provider's stand-in; any
// thread.
#include "tools/sandbox/request.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>

namespace steplog::sandbox {
namespace {

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

std::string decode(std::string_view text, bool plus_is_space) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '+' && plus_is_space) {
            out += ' ';
        } else if (text[i] == '%' && i + 2 < text.size() && hex_digit(text[i + 1]) >= 0 &&
                   hex_digit(text[i + 2]) >= 0) {
            out += static_cast<char>(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
            i += 2;
        } else {
            out += text[i];
        }
    }
    return out;
}

// splitmix64: every number has its own well-mixed image, so counting up gives unlike ids.
std::uint64_t mix(std::uint64_t x) {
    x += 0x9e3779b97f4a7c15ULL;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
}

constexpr std::string_view base62 =
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

bool is_collection_word(std::string_view segment) {
    static constexpr std::array words = {
        "v1",     "v2",       "customers", "subscriptions", "invoices", "checkout",      "sessions",
        "events", "products", "prices",    "search",        "retry",    "users",         "count",
        "emails", "metadata", "core",      "invitations",   "revoke",   "sign_in_tokens"};
    return std::find(words.begin(), words.end(), segment) != words.end();
}

}  // namespace

std::string_view to_string(Provider provider) {
    switch (provider) {
        case Provider::stripe:
            return "stripe";
        case Provider::clerk:
            return "clerk";
        case Provider::resend:
            return "resend";
    }
    return "stripe";
}

std::optional<Provider> parse_provider(std::string_view text) {
    for (const Provider provider : {Provider::stripe, Provider::clerk, Provider::resend}) {
        if (to_string(provider) == text) return provider;
    }
    return std::nullopt;
}

Call take_apart(const SandboxRequest& request, std::int64_t now_ms) {
    Call call;
    call.method = request.method;
    call.headers = request.headers;
    call.body = request.body;
    call.now_ms = now_ms;
    const std::string_view target = request.target;
    const auto question = target.find('?');
    const std::string_view path = target.substr(0, question);
    if (question != std::string_view::npos) call.query = parse_form(target.substr(question + 1));
    call.path = percent_decode(path);
    for (std::size_t begin = 0; begin < path.size();) {
        const auto end = std::min(path.find('/', begin), path.size());
        if (end > begin) call.segments.push_back(percent_decode(path.substr(begin, end - begin)));
        begin = end + 1;
    }
    return call;
}

Provider provider_of_path(std::string_view path) {
    for (const std::string_view prefix :
         {"/v1/users", "/v1/invitations", "/v1/sign_in_tokens", "/v1/email_addresses"}) {
        if (path.starts_with(prefix)) return Provider::clerk;
    }
    if (path.starts_with("/emails")) return Provider::resend;
    return Provider::stripe;
}

std::string route_of(const Call& call) {
    std::string route = call.method + " ";
    for (const std::string& segment : call.segments) {
        route += '/';
        route += is_collection_word(segment) ? segment : "{id}";
    }
    return route;
}

std::string header_of(const steps::Headers& headers, std::string_view name) {
    for (const auto& [key, value] : headers) {
        if (key.size() == name.size() &&
            std::equal(key.begin(), key.end(), name.begin(), [](unsigned char a, unsigned char b) {
                return std::tolower(a) == std::tolower(b);
            })) {
            return value;
        }
    }
    return "";
}

std::string percent_decode(std::string_view text) { return decode(text, false); }

Params parse_form(std::string_view text) {
    Params params;
    while (!text.empty()) {
        const auto end = std::min(text.find('&'), text.size());
        const std::string_view pair = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        if (pair.empty()) continue;
        const auto equals = pair.find('=');
        const std::string_view value =
            equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1);
        params.emplace_back(decode(pair.substr(0, equals), true), decode(value, true));
    }
    return params;
}

std::optional<std::string> find_param(const Params& params, std::string_view key) {
    for (const auto& [name, value] : params) {
        if (name == key) return value;
    }
    return std::nullopt;
}

std::vector<std::string> find_all(const Params& params, std::string_view key) {
    std::vector<std::string> values;
    for (const auto& [name, value] : params) {
        const std::string_view view = name;
        const bool indexed =
            view.size() > key.size() + 1 && view.starts_with(key) && view[key.size()] == '[' &&
            view.back() == ']' &&
            std::all_of(view.begin() + static_cast<std::ptrdiff_t>(key.size()) + 1, view.end() - 1,
                        [](unsigned char c) { return std::isdigit(c) != 0; });
        if (view == key || indexed) values.push_back(value);
    }
    return values;
}

Params find_bracketed(const Params& params, std::string_view prefix) {
    Params found;
    for (const auto& [name, value] : params) {
        const std::string_view view = name;
        if (view.size() <= prefix.size() + 2 || !view.starts_with(prefix) ||
            view[prefix.size()] != '[' || view.back() != ']') {
            continue;
        }
        found.emplace_back(view.substr(prefix.size() + 1, view.size() - prefix.size() - 2), value);
    }
    return found;
}

std::string to_text(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

steps::HttpReply json_reply(int status, const Json& body) {
    return {
        .status = status, .headers = {{"Content-Type", "application/json"}}, .body = to_text(body)};
}

void set_header(steps::HttpReply& reply, const std::string& name, const std::string& value) {
    std::erase_if(reply.headers,
                  [&](const auto& pair) { return to_lower(pair.first) == to_lower(name); });
    reply.headers.emplace_back(name, value);
}

std::string string_at(const Json& object, std::string_view key) {
    const Json* found = member(object, key);
    return found != nullptr && found->is_string() ? found->get<std::string>() : std::string();
}

const Json* member(const Json& object, std::string_view key) {
    if (!object.is_object()) return nullptr;
    const auto found = object.find(std::string(key));
    return found == object.end() ? nullptr : &*found;
}

bool looks_like_email(std::string_view text) {
    const auto at = text.find('@');
    if (at == std::string_view::npos || at == 0 || text.size() > 254) return false;
    const std::string_view domain = text.substr(at + 1);
    return domain.find('.') != std::string_view::npos && domain.find('@') == domain.npos &&
           domain.front() != '.' && domain.back() != '.' &&
           std::none_of(text.begin(), text.end(), [](unsigned char c) { return c <= 0x20; });
}

std::string to_lower(std::string_view text) {
    std::string out(text);
    std::transform(out.begin(), out.end(), out.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return out;
}

std::string IdSource::make(std::string_view prefix, std::size_t length) {
    constexpr std::size_t counter_digits = 5;  // 916 million ids before one could repeat
    ++count_;
    std::string id(prefix);
    id.reserve(prefix.size() + length);
    std::uint64_t bits = mix(seed_ * 0x100000001b3ULL + count_);
    for (std::size_t i = 0; i + counter_digits < length; ++i) {
        if (i % 10 == 9) bits = mix(bits + i);
        id += base62[(bits >> (6 * (i % 10))) % base62.size()];
    }
    std::array<char, counter_digits> tail{};
    std::uint64_t rest = count_;
    for (auto digit = tail.rbegin(); digit != tail.rend(); ++digit) {
        *digit = base62[rest % base62.size()];
        rest /= base62.size();
    }
    id.append(tail.begin(), tail.end());
    return id;
}

std::string IdSource::make_uuid() {
    ++count_;
    const std::uint64_t high = mix(seed_ * 0x100000001b3ULL + count_);
    return fmt::format("{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}", high >> 32, (high >> 16) & 0xffff,
                       high & 0xfff, (seed_ & 0xfff), count_);
}

std::uint64_t IdSource::next_random() {
    return mix((seed_ ^ 0x5eedfa17ULL) + ++draws_ * 0x2545f491ULL);
}

}  // namespace steplog::sandbox
