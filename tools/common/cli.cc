#include "tools/common/cli.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <limits>

#include "engine/errors.h"
#include "engine/inspect_redact.h"
#include "engine/text.h"

namespace steplog::tools {
namespace {

constexpr std::size_t piped_cell_max = 200;  // characters of a last column that no terminal bounds

bool is_continuation(char byte) { return (static_cast<unsigned char>(byte) & 0xc0) == 0x80; }

std::size_t characters_of(const std::string& text) {
    std::size_t count = 0;
    for (const char byte : text) count += is_continuation(byte) ? 0 : 1;
    return count;
}

const char* escape_of(Colour colour) {
    switch (colour) {
        case Colour::red:
            return "31";
        case Colour::green:
            return "32";
        case Colour::yellow:
            return "33";
        case Colour::cyan:
            return "36";
        case Colour::grey:
            return "90";
        case Colour::bold:
            return "1";
        case Colour::none:
            break;
    }
    return "";
}

}  // namespace

void add_common_options(CLI::App& app, CommonOptions& options, const std::string& program) {
    app.add_option("--database", options.database, "the database file")
        ->envname("STEPLOG_DATABASE")
        ->type_name("FILE")
        ->capture_default_str();
    app.add_flag("--json", options.json, "print JSON");
    app.set_version_flag("--version", program + " " + STEPLOG_VERSION);
    app.get_formatter()->column_width(34);
}

CLI::Option* add_duration(CLI::App& app, const std::string& name, std::optional<Ms>& value,
                          const std::string& help) {
    return app
        .add_option_function<std::string>(
            name,
            [&value, name](const std::string& text) {
                value = parse_duration(text);
                if (!value)
                    throw CLI::ValidationError(
                        name, "wants a duration such as 500ms, 30s, 5m, 2h or 30d");
            },
            help)
        ->type_name("DURATION");
}

CLI::Validator at_least(int min) {
    return {[min](std::string& text) {
                const auto value = parse_count(text, std::numeric_limits<int>::max());
                return value && *value >= min ? std::string()
                                              : fmt::format("wants a whole number from {}", min);
            },
            "", ""};
}

int run_program(const std::string& program, CLI::App& app, int argc, char** argv,
                const std::function<int()>& run) {
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0) return app.exit(error) == 0 ? exit_done : exit_failed;
        complain(program, fmt::format("{}; see {} --help", error.what(), program));
        return exit_usage;
    }
    int code = exit_failed;
    try {
        code = run();
    } catch (const std::bad_alloc&) {
        std::fputs("there is not enough memory: end something else and try again\n", stderr);
        return exit_failed;
    } catch (const std::exception& error) {
        complain(program, error.what());
        return exit_failed;
    }
    if (std::fflush(stdout) != 0 || std::ferror(stdout)) {
        complain(program, "the output could not be written: is its disk full?");
        return exit_failed;
    }
    return code;
}

void check_database_name(const std::string& database) {
    if (database.empty()) throw Failure("the database's name is empty: give --database FILE");
    if (database.find("://") != std::string::npos)
        throw Failure("this release knows SQLite files only: give --database FILE");
}

std::vector<MasterKey> encryption_keys() {
    constexpr const char* name = "STEPLOG_ENCRYPTION_KEY";
    const char* set = std::getenv(name);
    const char* file_name = std::getenv("STEPLOG_ENCRYPTION_KEY_FILE");
    std::string setting = set ? set : "";
    if (file_name && *file_name && setting.empty()) {
        std::ifstream file(file_name, std::ios::binary);
        setting.assign(std::istreambuf_iterator<char>(file), {});
        if (!file) throw Failure(fmt::format("{}_FILE: cannot read {}", name, file_name));
    }
    try {
        return parse_master_keys(setting);
    } catch (const std::invalid_argument& error) {
        throw Failure(fmt::format("{}: {}", name, error.what()));
    }
}

void print(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stdout); }

void print_line(const std::string& text) { print(text + "\n"); }

void complain(const std::string& program, const std::string& text) {
    const std::string line = fmt::format("{}: {}\n", program, printable(redact_text(text)));
    std::fwrite(line.data(), 1, line.size(), stderr);
}

bool use_colours() {
    const char* no_colour = std::getenv("NO_COLOR");
    if (no_colour && *no_colour) return false;
    const char* terminal = std::getenv("TERM");
    if (terminal && std::string_view(terminal) == "dumb") return false;
    return isatty(STDOUT_FILENO) == 1;
}

int terminal_width() {
    winsize size{};
    if (isatty(STDOUT_FILENO) != 1 || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) return 0;
    return size.ws_col;
}

std::string coloured(const std::string& text, Colour colour) {
    if (colour == Colour::none || text.empty() || !use_colours()) return text;
    return fmt::format("\x1b[{}m{}\x1b[0m", escape_of(colour), text);
}

std::string shortened(const std::string& text, std::size_t characters) {
    if (characters_of(text) <= characters || characters == 0) return text;
    std::string result;
    std::size_t count = 0;
    for (const char byte : text) {
        if (!is_continuation(byte) && ++count == characters) break;
        result += byte;
    }
    return result + "…";
}

std::string Table::text(const std::string& indent) const {
    constexpr std::size_t gap = 2;
    std::vector<std::size_t> widths;
    for (const std::string& heading : headings_) widths.push_back(characters_of(heading));
    for (const auto& row : rows_)
        for (std::size_t i = 0; i < row.size(); ++i)
            widths[i] = std::max(widths[i], characters_of(row[i].text));

    std::size_t before_last = indent.size();
    for (std::size_t i = 0; i + 1 < widths.size(); ++i) before_last += widths[i] + gap;
    const auto terminal = static_cast<std::size_t>(terminal_width());
    constexpr std::size_t last_min = 20;
    std::size_t last_max = piped_cell_max;
    if (terminal > 0) last_max = std::max(last_min, terminal - std::min(terminal, before_last));

    std::string result;
    const auto add_row = [&](const std::vector<Cell>& row) {
        std::string line = indent;
        for (std::size_t i = 0; i < row.size(); ++i) {
            const bool last = i + 1 == row.size();
            const std::string cell = last ? shortened(row[i].text, last_max) : row[i].text;
            line += coloured(cell, row[i].colour);
            if (!last) line += std::string(widths[i] - characters_of(cell) + gap, ' ');
        }
        line.erase(line.find_last_not_of(' ') + 1);
        result += line + "\n";
    };
    std::vector<Cell> headings;
    for (const std::string& heading : headings_) headings.push_back({heading, Colour::grey});
    add_row(headings);
    for (const auto& row : rows_) add_row(row);
    return result;
}

}  // namespace steplog::tools
