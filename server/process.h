// The server as a process among others: what it asks of the kernel at start, the signals that end
// it, and what it tells a supervisor. Used by main.
#pragma once

#include <atomic>
#include <string_view>

namespace steplog::server {

/// Files are made for their owner alone, no core dumps and no debugger of the same user (secrets
/// are in memory), broken pipes and file size limits are errors where they happen rather than the
/// end, and an exception that nobody catches is told to standard error and ends the process
/// with 70. Call it first.
void prepare_process();

/// What ends, or bothers, a running server. Blocks the signals for the calling thread and all it
/// starts from then on; so make it before any other thread.
class Signals {
  public:
    enum class Kind {
        stop,    // SIGTERM or SIGINT
        reload,  // SIGHUP
        failed   // fail() was called
    };

    /// Throws std::system_error when the kernel has no file descriptor left.
    Signals();
    ~Signals();
    Signals(const Signals&) = delete;
    Signals& operator=(const Signals&) = delete;

    /// Waits for the next one; a failure goes before all else. One thread.
    Kind wait();

    /// Ends the wait with `failed`; and should main not end the process within a second, the kernel
    /// does. Any thread, more than once.
    void fail() noexcept;

    bool has_failed() const { return failed_; }

  private:
    int signals_fd_ = -1;
    int failed_fd_ = -1;
    std::atomic<bool> failed_ = false;
};

/// Tells systemd "READY=1" or "STOPPING=1" where it asked to be told (NOTIFY_SOCKET, sd_notify(3)).
/// Does nothing elsewhere, and nothing when systemd does not listen.
void notify_supervisor(std::string_view state) noexcept;

}  // namespace steplog::server
