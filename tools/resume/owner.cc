#include "tools/resume/owner.h"

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

}  // namespace

Owner::Owner(std::filesystem::path database, Clock& clock)
    : database_(std::move(database)), clock_(clock) {}

std::optional<Resumed> Owner::ask_server(const ResumeRequest& request) {
    const auto socket = control_socket_path(database_);
    try {
        return parse_resumed(control_call(socket, resume_command(request), answer_timeout));
    } catch (const NoServerError&) {
        return std::nullopt;
    } catch (const ControlError&) {
        // It may have ended while it was asked; what it had done already is then only skipped.
        if (FileLock::is_held(database_)) throw;
        return std::nullopt;
    }
}

std::optional<Resumed> Owner::do_it_here(const ResumeRequest& request) {
    try {
        const auto store = open_sqlite_store({.database = database_,
                                              .program = "workflow-resume",
                                              .writer_thread = false,
                                              .create = false},
                                             clock_);
        ResumeRequest signed_request = request;
        signed_request.actor = fmt::format("uid:{}", getuid());
        return store->resume(std::move(signed_request)).get();
    } catch (const LockedError& error) {
        locked_ = error.what();
        return std::nullopt;
    }
}

Resumed Owner::resume(const ResumeRequest& request) {
    const auto give_up_at = std::chrono::steady_clock::now() + change_of_owner;
    while (true) {
        if (auto resumed = ask_server(request)) {
            served_ = true;
            return *resumed;
        }
        served_ = false;
        if (auto resumed = do_it_here(request)) return *resumed;
        if (std::chrono::steady_clock::now() > give_up_at)
            throw Failure(
                fmt::format("{}; and nobody answers at {}: if that is a server, look whether it "
                            "hangs",
                            locked_, control_socket_path(database_).string()));
        std::this_thread::sleep_for(between_tries);
    }
}

}  // namespace steplog::tools
