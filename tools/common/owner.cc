#include "tools/common/owner.h"

#include <fmt/format.h>
#include <unistd.h>

#include <thread>

#include "engine/commands.h"
#include "engine/control.h"
#include "engine/file_lock.h"
#include "engine/sqlite_store.h"
#include "tools/common/cli.h"

namespace steplog::tools {
namespace {

constexpr Ms answer_timeout = std::chrono::seconds(60);
// A server that starts has the lock before it has the socket, and one that ends the other way
// round.
constexpr Ms change_of_owner = std::chrono::seconds(5);
constexpr Ms between_tries{50};

Json carry_out(Store& store, const Json& command) {
    return handle_command(store, command, fmt::format("uid:{}", getuid()));
}

}  // namespace

Owner::Owner(std::filesystem::path database, std::string program, Clock& clock)
    : database_(std::move(database)), program_(std::move(program)), clock_(clock) {}

Owner::~Owner() = default;

std::optional<Json> Owner::ask_server(const Json& command) {
    try {
        return control_call(control_socket_path(database_), command, answer_timeout);
    } catch (const NoServerError&) {
        return std::nullopt;
    } catch (const ControlError&) {
        // It may have ended while it was asked; what it had done already is then only skipped.
        if (FileLock::is_held(database_)) throw;
        return std::nullopt;
    }
}

std::optional<Json> Owner::do_it_here(const Json& command) {
    try {
        auto store = open_sqlite_store({.database = database_,
                                        .program = program_,
                                        .writer_thread = false,
                                        .create = false,
                                        .encryption_keys = encryption_keys()},
                                       clock_);
        Json result = carry_out(*store, command);
        if (keep_) kept_ = std::move(store);
        return result;
    } catch (const LockedError& error) {
        locked_ = error.what();
        return std::nullopt;
    }
}

Json Owner::order(const Json& command) {
    if (kept_) return carry_out(*kept_, command);
    const auto give_up_at = std::chrono::steady_clock::now() + change_of_owner;
    while (true) {
        if (auto result = ask_server(command)) {
            served_ = true;
            return *result;
        }
        served_ = false;
        if (auto result = do_it_here(command)) return *result;
        if (std::chrono::steady_clock::now() > give_up_at)
            throw Failure(
                fmt::format("{}; and nobody answers at {}: if that is a server, look whether it "
                            "hangs",
                            locked_, control_socket_path(database_).string()));
        std::this_thread::sleep_for(between_tries);
    }
}

}  // namespace steplog::tools
