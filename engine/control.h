// The control socket beside a database, both ends: how a command asks the server that owns the
// file, since nobody else may write it. One line of JSON there, one line of JSON back, then the
// connection ends. The socket is <database>.sock, mode 0600; only the owner's user and root are
// answered.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>

#include "engine/types.h"

namespace steplog {

/// <database>.sock
std::filesystem::path control_socket_path(const std::filesystem::path& database);

/// What the server's end takes of its clients.
struct ControlLimits {
    std::size_t request_bytes_max = 1024 * 1024;
    int connections_max = 16;                       // at once; more are told to come back
    Ms request_deadline = std::chrono::seconds(5);  // from the connection to the whole request
    Ms reply_deadline = std::chrono::seconds(5);
};

/// The server's end. Its own threads answer; a client that hangs holds up nobody else.
class ControlServer {
  public:
    /// Called on any thread, several at once. What it throws (std::exception) is the caller's
    /// error. `actor` is who asks: "uid:1000".
    using Handler = std::function<Json(const Json& request, const std::string& actor)>;

    /// Binds and answers from now on. The caller owns the database, so a socket that lies there is
    /// a dead owner's and is replaced. Throws std::runtime_error naming the path when that cannot
    /// be.
    ControlServer(const std::filesystem::path& path, Handler handler, ControlLimits limits = {});
    /// Answers what is under way, then removes the socket.
    ~ControlServer();
    ControlServer(const ControlServer&) = delete;
    ControlServer& operator=(const ControlServer&) = delete;

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

/// The call did not succeed: refused, timed out, cut, or answered with an error (then the message
/// is the server's).
class ControlError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// …because nobody listens: no socket, or a dead owner's. Nothing was asked of anybody.
class NoServerError : public ControlError {
  public:
    using ControlError::ControlError;
};

/// Asks the server at `path` and returns its answer. Throws NoServerError, ControlError.
Json control_call(const std::filesystem::path& path, const Json& request, Ms timeout);

}  // namespace steplog
