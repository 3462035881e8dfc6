// See settings_traces.h.
#include "server/settings_traces.h"

#include <strings.h>

#include <algorithm>
#include <stdexcept>

#include "server/settings_checks.h"
#include "steps/alert_channels.h"

namespace steplog::server {
namespace {

constexpr std::size_t service_bytes_max = 255;

int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/// Throws std::invalid_argument.
std::string percent_decoded(const std::string& text) {
    std::string decoded;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            decoded += text[i];
            continue;
        }
        const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
        const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
        if (high < 0 || low < 0)
            throw std::invalid_argument("holds a % without two hex digits; write %25 for a %");
        decoded += static_cast<char>(high * 16 + low);
        i += 2;
    }
    return decoded;
}

bool is_header_name(const std::string& text) {
    constexpr std::string_view letters =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$&'*+-.^_`|~";
    return !text.empty() && text.find_first_not_of(letters) == std::string::npos;
}

bool is_ours(const std::string& name) {
    for (const char* one : {"Host", "Content-Type", "Content-Length", "Content-Encoding",
                            "Transfer-Encoding", "Connection", "User-Agent"})
        if (strcasecmp(name.c_str(), one) == 0) return true;
    return false;
}

/// "api-key=abc,x-team=a%20b". Throws std::invalid_argument, with a text that repeats none of it.
std::vector<std::pair<std::string, std::string>> parse_headers(const std::string& list) {
    std::vector<std::pair<std::string, std::string>> headers;
    for (const std::string& part : split_list(list)) {
        const auto equals = std::min(part.find('='), part.size());
        const std::string name = part.substr(0, equals);
        if (equals == part.size() || !is_header_name(name))
            throw std::invalid_argument(
                "is no list of headers; write name=value,name=value, values percent-encoded");
        if (is_ours(name))
            throw std::invalid_argument("names a header that every request has already");
        const std::string value = percent_decoded(part.substr(equals + 1));
        for (const char c : value)
            if (c < 0x20 || c > 0x7e)
                throw std::invalid_argument("holds a character that no header has");
        headers.emplace_back(name, value);
    }
    return headers;
}

/// The traces' own address wins, and is taken as it is; nothing when neither is set.
void read_address(SettingsReader& reader, TraceSettings& settings) {
    std::string_view name = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
    std::string url = reader.text(name);
    if (url.empty()) {
        name = "OTEL_EXPORTER_OTLP_ENDPOINT";
        url = reader.text(name);
        if (url.empty()) return;
        while (url.ends_with('/')) url.pop_back();
        url += "/v1/traces";
    }
    reader.expect(name, [&] {
        const auto address = steps::parse_web_address(url);
        settings.base = address.base;
        settings.target = address.target;
    });
}

}  // namespace

TraceSettings read_trace_settings(SettingsReader& reader) {
    TraceSettings settings;
    read_address(reader, settings);
    reader.expect("OTEL_EXPORTER_OTLP_HEADERS", [&] {
        settings.headers = parse_headers(reader.secret("OTEL_EXPORTER_OTLP_HEADERS").value_or(""));
    });
    if (!settings.headers.empty() && settings.base.empty())
        reader.warning("OTEL_EXPORTER_OTLP_HEADERS",
                       "goes nowhere: OTEL_EXPORTER_OTLP_ENDPOINT is not set");
    settings.service = reader.text("OTEL_SERVICE_NAME");
    const bool plain = std::all_of(settings.service.begin(), settings.service.end(), [](char c) {
        return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f;
    });
    if (!plain || settings.service.size() > service_bytes_max)
        reader.problem("OTEL_SERVICE_NAME", "is no name; write one like steplog-production");
    return settings;
}

std::vector<std::string> describe_traces(const TraceSettings& settings) {
    return {"OTEL_EXPORTER_OTLP_ENDPOINT=" + (settings.base.empty() ? "none" : settings.base),
            "OTEL_EXPORTER_OTLP_HEADERS=" + std::to_string(settings.headers.size()) + " set",
            "OTEL_SERVICE_NAME=" + settings.service};
}

}  // namespace steplog::server
