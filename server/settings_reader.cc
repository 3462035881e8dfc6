// See settings_reader.h.
#include "server/settings_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "engine/inspect_redact.h"
#include "engine/text.h"
#include "server/settings_checks.h"
#include "steps/address.h"

namespace steplog::server {
namespace {

constexpr std::size_t secret_file_bytes_max = 64 * 1024;
constexpr std::string_view duration_forms = "write a duration like 500ms, 30s, 5m, 2h or 30d";

const Variable& find(std::string_view name) {
    for (const auto& variable : variables()) {
        if (variable.name == name) return variable;
    }
    throw std::logic_error(fmt::format("{} is not in the table of settings", name));
}

}  // namespace

void SettingsReader::problem(std::string_view name, std::string_view what) {
    read_.problems.push_back(fmt::format("{}: {}", name, steplog::printable(what)));
}

void SettingsReader::warning(std::string_view name, std::string_view what) {
    read_.warnings.push_back(fmt::format("{}: {}", name, steplog::printable(what)));
}

std::string SettingsReader::text(std::string_view name) const {
    const Variable& variable = find(name);
    for (const auto* source : {&flags_, &environment_}) {
        const auto found = source->find(std::string(name));
        if (found != source->end() && !found->second.empty()) return found->second;
    }
    return std::string(variable.default_value);
}

std::optional<std::string> SettingsReader::secret(std::string_view name) {
    std::string value = text(name);
    const std::string file_name = fmt::format("{}_FILE", name);
    const auto file = environment_.find(file_name);
    if (file != environment_.end() && !file->second.empty()) {
        if (value.empty()) return from_file(file_name, file->second);
        problem(name, fmt::format("is set beside {}; set one of the two", file_name));
        return "";
    }
    if (!value.empty()) return value;
    const std::string credential = credential_file(name);
    return credential.empty() ? std::nullopt
                              : std::optional(from_file(std::string(name), credential));
}

std::string SettingsReader::credential_file(std::string_view name) const {
    const auto directory = environment_.find("CREDENTIALS_DIRECTORY");
    if (directory == environment_.end() || directory->second.empty()) return "";
    // Loaded one by one under its name, or with a whole directory under the id "steplog".
    for (const auto* prefix : {"", "steplog_"}) {
        const auto path = fmt::format("{}/{}{}", directory->second, prefix, name);
        std::error_code error;
        if (std::filesystem::exists(path, error) || error) return path;
    }
    return "";
}

bool SettingsReader::is_in_file(std::string_view name) const {
    const auto file = environment_.find(fmt::format("{}_FILE", name));
    return file != environment_.end() && !file->second.empty();
}

std::string SettingsReader::required_secret(std::string_view name, std::string_view hint) {
    const auto value = secret(name);
    if (!value) {
        problem(name, fmt::format("is missing; set it, or {}_FILE to a file that holds it ({})",
                                  name, hint));
    }
    return value.value_or("");
}

void SettingsReader::expect_plain(std::string_view name, std::string_view secret) {
    if (is_plain_ascii(secret)) return;
    problem(name,
            "holds a blank, a line break or another character that no key has; copy it again");
}

Ms SettingsReader::duration(std::string_view name, Ms min, Ms max) {
    const auto value = parse_duration(text(name));
    if (!value) {
        problem(name,
                fmt::format("\"{}\" is no duration; {}", printable(text(name)), duration_forms));
    } else if (*value < min || *value > max) {
        problem(name, fmt::format("must be between {} and {}", format_duration(min),
                                  format_duration(max)));
    } else {
        return *value;
    }
    return min;
}

int SettingsReader::count(std::string_view name, int max) {
    const auto value = parse_count(text(name), max);
    if (value && *value >= 1) return static_cast<int>(*value);
    problem(name,
            fmt::format("\"{}\" is no whole number from 1 to {}", printable(text(name)), max));
    return 1;
}

std::size_t SettingsReader::size(std::string_view name, std::size_t min, std::size_t max) {
    const auto value = parse_size(text(name));
    if (!value) {
        problem(name, fmt::format("\"{}\" is no size; write a size like 512KiB or 1MiB",
                                  printable(text(name))));
    } else if (*value < min || *value > max) {
        problem(name, fmt::format("must be between {} and {}", format_size(min), format_size(max)));
    } else {
        return *value;
    }
    return min;
}

std::string SettingsReader::base_url(std::string_view name) {
    std::string value = text(name);
    expect(name, [&] { steps::parse_base_url(value); });
    if (!value.empty() && value.back() == '/') value.pop_back();
    return value;
}

std::string SettingsReader::page_url(std::string_view name) {
    const std::string value = text(name);
    const auto host_at = value.find("://") + 3;
    const auto path_at = std::min(value.find_first_of("/?#", host_at), value.size());
    expect(name, [&] { steps::parse_base_url(value.substr(0, path_at)); });
    if (!is_plain_ascii(value) || value.find_first_of("\"<>\\") != std::string::npos) {
        problem(name, "holds a character that no URL has; write it percent-encoded");
    }
    return value;
}

std::string SettingsReader::printable(const std::string& value) {
    constexpr std::size_t length_max = 60;
    std::string shown;
    for (const char c : value.substr(0, length_max)) {
        shown += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
    }
    return value.size() > length_max ? shown + "…" : shown;
}

void SettingsReader::no_such_choice(std::string_view name, const std::string& value,
                                    const std::vector<std::string_view>& words) {
    problem(name, fmt::format("\"{}\" is none of: {}", printable(value), fmt::join(words, ", ")));
}

std::string SettingsReader::from_file(const std::string& name, const std::string& path) {
    errno = 0;
    std::ifstream file(path, std::ios::binary);
    std::string value(secret_file_bytes_max + 1, '\0');
    file.read(value.data(), static_cast<std::streamsize>(value.size()));
    if (!file.eof() || file.bad()) {
        const char* why = errno != 0 ? std::strerror(errno) : "it is larger than 64 KiB";
        problem(name, fmt::format("cannot read {}: {}", printable(path), why));
        return "";
    }
    value.resize(static_cast<std::size_t>(file.gcount()));
    while (!value.empty() && (value.back() == '\n' || value.back() == '\r')) value.pop_back();
    if (value.empty())
        problem(name, fmt::format("{} is empty; it must hold the secret", printable(path)));
    return value;
}

}  // namespace steplog::server
