// Feeds values to everything that reads a setting: durations, sizes and counts, listen addresses
// and proxies, and a whole environment, one NAME=value a line. Nothing may throw but what says so;
// what was accepted must be written as it is read; and no text for people may hold a secret.
#include "server/settings.h"

#include <algorithm>
#include <stdexcept>

#include "engine/text.h"
#include "server/front_address.h"
#include "tests/fuzz/fuzz.h"

namespace {

using namespace steplog;
using namespace steplog::server;
using fuzz::hold;

void check_values(const std::string& text) {
    if (const auto duration = parse_duration(text)) {
        hold(duration->count() >= 0);
        hold(parse_duration(format_duration(*duration)) == duration);
    }
    if (const auto size = parse_size(text)) hold(parse_size(format_size(*size)) == size);
    if (const auto count = parse_count(text, 1'000'000)) hold(*count >= 0 && *count <= 1'000'000);
    try {
        const ListenAddress listen = parse_listen(text);
        hold(listen.length > 0);
    } catch (const std::runtime_error& error) {
        hold(*error.what() != '\0');
    }
    try {
        AddressRanges ranges({text});
    } catch (const std::runtime_error& error) {
        hold(*error.what() != '\0');
    }
}

/// Names of files are taken out of the world's hands: a pipe would be waited for.
bool names_a_file(const std::string& name) {
    return name.ends_with("_FILE") || name == "TLS_CERT" || name == "TLS_KEY" ||
           name == "EMAIL_TEMPLATES";
}

Environment environment_of(std::string_view text) {
    Environment environment;
    while (!text.empty()) {
        std::string_view line = fuzz::take_until(text, '\n');
        const std::string name(fuzz::take_until(line, '='));
        environment[name] = names_a_file(name) && !line.empty() ? "/nonexistent" : line;
    }
    return environment;
}

std::vector<std::string> all_lines(const SettingsRead& read) {
    std::vector<std::string> lines = read.problems;
    lines.insert(lines.end(), read.warnings.begin(), read.warnings.end());
    if (!read.problems.empty()) return lines;
    for (const std::string& line : describe(read.settings)) lines.push_back(line);
    return lines;
}

bool stands_in(const std::vector<std::string>& lines, const std::string& text) {
    return std::any_of(lines.begin(), lines.end(), [&](const std::string& line) {
        return line.find(text) != std::string::npos;
    });
}

/// No text holds the value of a secret that is long enough not to be there by chance. A fuzzer puts
/// our own words in for one, too: those stand there whatever the secret is.
void check_secrets(const Environment& environment, const std::vector<std::string>& lines,
                   bool terminal) {
    for (const auto& variable : variables()) {
        const auto found = environment.find(std::string(variable.name));
        if (!variable.secret || found == environment.end()) continue;
        const std::string& secret = found->second;
        if (secret.size() < 24 || !stands_in(lines, secret)) continue;
        Environment another = environment;
        another[found->first] = std::string(secret.size(), 'x');
        hold(stands_in(all_lines(read_settings(another, {}, terminal)), secret));
    }
}

void check_lines(const std::vector<std::string>& lines) {
    for (const std::string& line : lines) {
        hold(!line.empty());
        for (const char c : line) hold(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text = fuzz::view_of(data, size);
    std::string_view first = text;
    check_values(std::string(fuzz::take_until(first, '\n')));
    const Environment environment = environment_of(text);
    const bool terminal = size % 2 == 0;
    const SettingsRead read = read_settings(environment, {}, terminal);
    check_lines(read.problems);
    check_lines(read.warnings);
    check_secrets(environment, all_lines(read), terminal);
    if (!read.problems.empty()) return 0;
    const Settings& settings = read.settings;
    hold(settings.workers >= 1 && settings.lease > Ms(0));
    hold(!settings.stripe_webhook_secrets.empty());
    for (const std::string& secret : settings.stripe_webhook_secrets) hold(secret.size() >= 16);
    hold(settings.email_by == EmailBy::off || !settings.app_url.empty());
    return 0;
}
