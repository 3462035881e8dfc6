// The verbs of workflow-admin: a file each, which adds its subcommand and carries it out. Used by
// main.cc; main thread.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/clock.h"
#include "engine/types.h"
#include "tools/common/cli.h"
#include "tools/common/owner.h"

namespace steplog::tools {

inline constexpr const char* admin_program = "workflow-admin";

/// What every verb has at hand; outlives the parsing.
struct Admin {
    CommonOptions common;
    std::string reason;  // --reason: why, for the audit
    SystemClock clock;
    std::function<int()> chosen = {};  // carries out the verb that was named; returns an exit code

    Owner owner() { return Owner(common.database, admin_program, clock); }
};

/// A subcommand that, once named, is carried out by `run`. `wrong_usage`: rules between its options
/// that the parser cannot say; "" when they are kept.
CLI::App* add_verb(CLI::App& app, Admin& admin, const std::string& name, const std::string& help,
                   std::function<int()> run, std::function<std::string()> wrong_usage = {});

/// --reason TEXT, for verbs that change something.
void add_reason(CLI::App& verb, Admin& admin);

/// Says on stderr that a copy of a damaged write-ahead log is kept beside the database, where one
/// is and it is at least so old, and how to be rid of it; names it in `result` too.
void tell_of_kept_wal(const Admin& admin, Ms older_than, Json& result);

/// What is wrong with a text that should be JSON of at most so many bytes; "" for nothing.
std::string why_not_json(const std::string& text, std::size_t bytes_max);

/// The JSON that was given for an option: itself, for "-" the standard input, for "@FILE" a file's.
/// Throws Failure with a sentence.
std::string json_argument(const std::string& given, std::size_t bytes_max);

void add_backup(CLI::App& app, Admin& admin);
void add_verify(CLI::App& app, Admin& admin);
void add_purge(CLI::App& app, Admin& admin);
void add_cancel(CLI::App& app, Admin& admin);
void add_kill(CLI::App& app, Admin& admin);
void add_move(CLI::App& app, Admin& admin);
void add_start(CLI::App& app, Admin& admin);
void add_retry_now(CLI::App& app, Admin& admin);
void add_skip(CLI::App& app, Admin& admin);
void add_fail(CLI::App& app, Admin& admin);
void add_signal(CLI::App& app, Admin& admin);
void add_forget(CLI::App& app, Admin& admin);
void add_rotate_key(CLI::App& app, Admin& admin);
void add_schedule(CLI::App& app, Admin& admin);
void add_pause(CLI::App& app, Admin& admin);
void add_edit(CLI::App& app, Admin& admin);
void add_fork(CLI::App& app, Admin& admin);
void add_reconcile(CLI::App& app, Admin& admin);

}  // namespace steplog::tools
