// workflow-server: reads the command line and the settings, says what is wrong with them, and
// serves.
#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include "engine/errors.h"
#include "server/process.h"
#include "server/replay_check.h"
#include "server/serve.h"
#include "server/settings.h"
#include "server/settings_example.h"

namespace {

using namespace steplog::server;

constexpr int exit_refused = 1;
constexpr int exit_usage = 2;

constexpr const char* examples = R"(
Every flag is a setting of the same meaning in the environment; a flag wins. Secrets are taken from the
environment only, from the file that NAME_FILE names, or from systemd's credential NAME or steplog_NAME.

Examples:
  STRIPE_SECRET_KEY=rk_test_… STRIPE_WEBHOOK_SECRET=whsec_… CLERK_SECRET_KEY=sk_test_… EMAIL=off workflow-server
  workflow-server --check-config
  workflow-server --example-config >steplog.env
  workflow-server --check-replay --database /backups/steplog.db
  workflow-server --listen :0 --database /var/lib/steplog/steplog.db
  STRIPE_SECRET_KEY_FILE=/run/secrets/stripe workflow-server --workers 16

Settings:
)";

std::string table_of_settings() {
    std::string table = examples;
    for (const auto& variable : variables()) {
        table += fmt::format("  {:<35} {}", variable.name, variable.meaning);
        if (!variable.default_value.empty()) table += fmt::format(" [{}]", variable.default_value);
        if (variable.secret) table += fmt::format(" (or {}_FILE)", variable.name);
        table += "\n";
    }
    return table + "\nDurations are written 500ms 30s 5m 2h 30d, sizes 512KiB 1MiB.\n";
}

struct CommandLine {
    Environment flags;
    bool check_config = false;
    bool example_config = false;
    bool check_replay = false;
    bool json = false;
};

void define(CLI::App& app, CommandLine& line) {
    app.set_version_flag("--version", std::string("workflow-server ") + STEPLOG_VERSION);
    app.add_flag("--check-config", line.check_config,
                 "check the settings, show those in force, and end");
    app.add_flag("--example-config", line.example_config,
                 "print a file of all settings, each with its meaning, and end");
    CLI::Option* check_replay = app.add_flag(
        "--check-replay", line.check_replay,
        "before a deploy: would this program go on with all that is unfinished in the database? "
        "Reads only, beside a running server too; exits 0 fine, 1 would break, 2 could not look");
    app.add_flag("--json", line.json, "with --check-replay: print JSON")->needs(check_replay);
    app.footer(table_of_settings());
    for (const auto& variable : variables()) {
        const std::string flag = flag_of(variable);
        if (flag.empty()) continue;
        const auto store = [&line, name = std::string(variable.name)](const std::string& value) {
            line.flags[name] = value;
        };
        app.add_option_function<std::string>(flag, store,
                                             fmt::format("overrides {}", variable.name));
    }
}

int report(const SettingsRead& read) {
    for (const auto& problem : read.problems) fmt::print(stderr, "workflow-server: {}\n", problem);
    const auto* noun = read.problems.size() == 1 ? "problem" : "problems";
    fmt::print(stderr, "workflow-server: {} {} with the settings; see workflow-server --help\n",
               read.problems.size(), noun);
    return exit_refused;
}

int check(const SettingsRead& read) {
    for (const auto& warning : read.warnings) fmt::print(stderr, "workflow-server: {}\n", warning);
    if (!read.problems.empty()) return report(read);
    for (const auto& line : describe(read.settings)) fmt::print("{}\n", line);
    return 0;
}

int run(const CommandLine& line) {
    if (line.example_config) {
        fmt::print("{}", example_settings());
        return std::fflush(stdout) == 0 ? 0 : exit_refused;
    }
    const bool on_terminal = isatty(STDERR_FILENO) == 1;
    const auto read = read_settings(environment(), line.flags, on_terminal);
    scrub_environment();
    if (line.check_config) return check(read);
    if (line.check_replay) return check_replay(read, line.json);
    if (!read.problems.empty()) return report(read);
    return serve(read.settings, read.warnings);
}

}  // namespace

int main(int argc, char** argv) {
    prepare_process();
    CommandLine line;
    CLI::App app("Receives Stripe's webhooks and runs the workflows they start.",
                 "workflow-server");
    define(app, line);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : exit_usage;
    }
    try {
        return run(line);
    } catch (const std::exception& error) {
        fmt::print(stderr, "workflow-server: {}\n", error.what());
        return exit_refused;
    }
}
