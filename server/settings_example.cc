// See settings_example.h.
#include "server/settings_example.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "server/settings.h"

namespace steplog::server {
namespace {

constexpr std::size_t line_length_max = 98;

constexpr std::string_view heading =
    R"(# Settings of workflow-server: NAME=value lines, as systemd's EnvironmentFile= and Docker's --env-file
# take them. A line that is commented out shows the default; without a value there is none. Durations
# are written 500ms 30s 5m 2h 30d, sizes 512KiB 1MiB. Made by `workflow-server --example-config`.
#
# Secrets do not belong here, but each into a file of its own that is named like the setting, in
# /etc/steplog/credentials (owned by root, mode 600), from where systemd hands them over; or into any
# file that NAME_FILE names.
)";

/// As comments, in lines of at most `line_length_max` characters.
std::string commented(std::string_view text) {
    std::string lines;
    std::string line = "#";
    while (!text.empty()) {
        const auto word = text.substr(0, text.find(' '));
        text.remove_prefix(std::min(text.size(), word.size() + 1));
        if (line.size() + 1 + word.size() > line_length_max)
            lines += std::exchange(line, "#") + "\n";
        line += fmt::format(" {}", word);
    }
    return lines + line + "\n";
}

}  // namespace

std::string example_settings() {
    std::string all(heading);
    for (const auto& variable : variables()) {
        if (variable.secret) {
            all +=
                "\n" + commented(fmt::format("{}, a secret: {}", variable.name, variable.meaning));
        } else {
            all += fmt::format("\n{}#{}={}\n", commented(variable.meaning), variable.name,
                               variable.default_value);
        }
    }
    return all;
}

}  // namespace steplog::server
