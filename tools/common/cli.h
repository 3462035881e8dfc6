// What all command-line programs share: how they find the database, what they print where, and how
// they end. Data goes to stdout, words to stderr; exit codes are 0 done, 1 refused or not found or
// failed, 2 wrong usage. Used by tools/*/main.cc; main thread only.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "engine/cipher.h"
#include "engine/types.h"

namespace steplog::tools {

inline constexpr int exit_done = 0;
inline constexpr int exit_failed = 1;
inline constexpr int exit_usage = 2;

/// A failure that the program itself explains; the message says what to do next.
class Failure : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

struct CommonOptions {
    std::string database = "./steplog.db";
    bool json = false;
};

/// Adds --database (else STEPLOG_DATABASE, else ./steplog.db), --json, --help and --version.
void add_common_options(CLI::App& app, CommonOptions& options, const std::string& program);

/// An option that takes a duration such as 500ms, 30s, 5m, 2h, 30d.
CLI::Option* add_duration(CLI::App& app, const std::string& name, std::optional<Ms>& value,
                          const std::string& help);

/// What a count must be: a whole number, not less than `min`.
CLI::Validator at_least(int min);

/// Parses the command line, runs `run` and turns what it throws into one line on stderr and an exit
/// code. Also fails when stdout could not take all that was printed.
int run_program(const std::string& program, CLI::App& app, int argc, char** argv,
                const std::function<int()>& run);

/// Throws Failure when the database is named in a form that this release does not know.
void check_database_name(const std::string& database);

/// The keys that payloads are encrypted with: STEPLOG_ENCRYPTION_KEY or the file that
/// STEPLOG_ENCRYPTION_KEY_FILE names, as workflow-server reads them. Throws Failure.
std::vector<MasterKey> encryption_keys();

void print(const std::string& text);  // to stdout, as it is
void print_line(const std::string& text);
void complain(const std::string& program, const std::string& text);  // to stderr, one line

/// True when stdout is a terminal that should see colours: never with NO_COLOR.
bool use_colours();
/// Columns of the terminal behind stdout; 0 when it is none: then nothing is shortened.
int terminal_width();

enum class Colour { none, red, green, yellow, cyan, grey, bold };
std::string coloured(const std::string& text, Colour colour);

/// Text in aligned columns. Cells are printed as they are; widths count characters, not bytes.
class Table {
  public:
    explicit Table(std::vector<std::string> headings) : headings_(std::move(headings)) {}
    struct Cell {
        std::string text;
        Colour colour = Colour::none;
    };
    void add(std::vector<Cell> cells) { rows_.push_back(std::move(cells)); }
    bool empty() const { return rows_.empty(); }
    /// The last column is cut to what a terminal has room for.
    std::string text(const std::string& indent = "") const;

  private:
    std::vector<std::string> headings_;
    std::vector<std::vector<Cell>> rows_;
};

/// At most `characters` of the text, with … where it was cut.
std::string shortened(const std::string& text, std::size_t characters);

}  // namespace steplog::tools
