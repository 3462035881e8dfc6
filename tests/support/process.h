// A child program under a test's eyes: started with its own environment, its lines read as they
// come, signalled, and waited for with a deadline. One thread at a time for each object.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace steplog::testing {

struct Exit {
    int code = -1;   // 0 to 255; -1 when a signal ended it
    int signal = 0;  // 0 when it ended by itself
};

class Process {
  public:
    using Timeout = std::chrono::milliseconds;

    /// Starts `argv[0]` (a path) with exactly this environment (and PATH, and what sanitizers
    /// read), standard input empty. Throws std::system_error when it cannot be started.
    explicit Process(const std::vector<std::string>& argv,
                     const std::map<std::string, std::string>& environment = {});
    ~Process();  // kills it when it still runs
    Process(Process&&) noexcept;
    Process& operator=(Process&&) = delete;

    /// The next line of standard output or standard error, without its end. Nothing when the stream
    /// ended or the time is over.
    std::optional<std::string> read_line(Timeout timeout = std::chrono::seconds(10));
    std::optional<std::string> read_error_line(Timeout timeout = std::chrono::seconds(10));

    /// Reads lines of standard error until one holds `text`, and returns it.
    std::optional<std::string> wait_for_error_line(const std::string& text,
                                                   Timeout timeout = std::chrono::seconds(10));

    void signal(int number);

    /// Waits for its end, reading what it writes meanwhile. Nothing when the time is over.
    std::optional<Exit> wait(Timeout timeout = std::chrono::seconds(10));

    /// All that has been read so far.
    const std::string& output() const { return out_.text; }
    const std::string& errors() const { return err_.text; }
    pid_t pid() const { return pid_; }

  private:
    struct Stream {
        int fd = -1;
        std::string text;
        std::size_t taken = 0;  // bytes of `text` handed out as lines
    };
    bool pump(
        Timeout timeout);  // reads once from either; false when both ended or the time is over
    std::optional<std::string> next_line(Stream& stream, Timeout timeout);
    static void read_some(Stream& stream);

    pid_t pid_ = -1;
    std::optional<Exit> exit_;
    Stream out_, err_;
};

/// Runs a program to its end. Throws std::runtime_error when it takes longer.
struct Finished {
    Exit exit;
    std::string output, errors;
};
Finished run(const std::vector<std::string>& argv,
             const std::map<std::string, std::string>& environment = {},
             Process::Timeout timeout = std::chrono::seconds(20));

}  // namespace steplog::testing
