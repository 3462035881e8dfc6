// Child programs for tests; see process.h.
#include "tests/support/process.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <stdexcept>
#include <system_error>
#include <utility>

namespace steplog::testing {
namespace {

// A program that ends while a test writes to it must not take the test along.
[[maybe_unused]] const auto sigpipe_before = std::signal(SIGPIPE, SIG_IGN);

using Clock = std::chrono::steady_clock;

Process::Timeout left_until(Clock::time_point deadline) {
    const auto left = std::chrono::duration_cast<Process::Timeout>(deadline - Clock::now());
    return std::max(left, Process::Timeout(0));
}

std::array<int, 2> make_pipe() {
    std::array<int, 2> ends{};
    if (pipe2(ends.data(), O_CLOEXEC) != 0)
        throw std::system_error(errno, std::generic_category(), "pipe");
    return ends;
}

void close_if_open(int& fd) {
    if (fd >= 0) close(fd);
    fd = -1;
}

}  // namespace

Process::Process(const std::vector<std::string>& argv,
                 const std::map<std::string, std::string>& environment) {
    auto variables = environment;
    for (const auto* name :
         {"PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS"}) {
        if (const char* value = std::getenv(name)) variables.emplace(name, value);
    }
    std::vector<std::string> assignments;
    for (const auto& [name, value] : variables) assignments.push_back(name + "=" + value);
    std::vector<char*> arguments, environ_pointers;
    for (const auto& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
    for (const auto& assignment : assignments)
        environ_pointers.push_back(const_cast<char*>(assignment.c_str()));
    arguments.push_back(nullptr);
    environ_pointers.push_back(nullptr);

    auto out = make_pipe();
    auto err = make_pipe();
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, err[1], STDERR_FILENO);
    const int failed = posix_spawn(&pid_, argv.at(0).c_str(), &actions, nullptr, arguments.data(),
                                   environ_pointers.data());
    posix_spawn_file_actions_destroy(&actions);
    close(out[1]);
    close(err[1]);
    out_.fd = out[0];
    err_.fd = err[0];
    if (failed != 0) {
        pid_ = -1;
        close_if_open(out_.fd);
        close_if_open(err_.fd);
        throw std::system_error(failed, std::generic_category(), "cannot start " + argv[0]);
    }
}

Process::Process(Process&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      exit_(other.exit_),
      out_(std::exchange(other.out_, {})),
      err_(std::exchange(other.err_, {})) {}

Process::~Process() {
    if (pid_ > 0 && !exit_) {
        kill(pid_, SIGKILL);
        waitpid(pid_, nullptr, 0);
    }
    close_if_open(out_.fd);
    close_if_open(err_.fd);
}

void Process::read_some(Stream& stream) {
    std::array<char, 16384> buffer{};
    const auto count = read(stream.fd, buffer.data(), buffer.size());
    if (count > 0) {
        stream.text.append(buffer.data(), static_cast<std::size_t>(count));
    } else if (count == 0 || errno != EINTR) {
        close_if_open(stream.fd);
    }
}

bool Process::pump(Timeout timeout) {
    if (out_.fd < 0 && err_.fd < 0) return false;
    std::array<pollfd, 2> watched = {{{out_.fd, POLLIN, 0}, {err_.fd, POLLIN, 0}}};
    if (poll(watched.data(), watched.size(), static_cast<int>(timeout.count())) <= 0) return false;
    if (watched[0].revents != 0) read_some(out_);
    if (watched[1].revents != 0) read_some(err_);
    return true;
}

std::optional<std::string> Process::next_line(Stream& stream, Timeout timeout) {
    const auto deadline = Clock::now() + timeout;
    while (true) {
        const auto end = stream.text.find('\n', stream.taken);
        if (end != std::string::npos) {
            auto line = stream.text.substr(stream.taken, end - stream.taken);
            stream.taken = end + 1;
            return line;
        }
        if (stream.fd < 0 || !pump(left_until(deadline))) return std::nullopt;
    }
}

std::optional<std::string> Process::read_line(Timeout timeout) { return next_line(out_, timeout); }
std::optional<std::string> Process::read_error_line(Timeout timeout) {
    return next_line(err_, timeout);
}

std::optional<std::string> Process::wait_for_error_line(const std::string& text, Timeout timeout) {
    const auto deadline = Clock::now() + timeout;
    while (auto line = next_line(err_, left_until(deadline))) {
        if (line->find(text) != std::string::npos) return line;
    }
    return std::nullopt;
}

void Process::signal(int number) {
    if (pid_ > 0 && !exit_) kill(pid_, number);
}

std::optional<Exit> Process::wait(Timeout timeout) {
    const auto deadline = Clock::now() + timeout;
    while (pump(left_until(deadline))) {
    }
    while (!exit_) {
        // Its streams have ended or the time is over; a grandchild may hold a stream open, so both
        // are asked.
        int status = 0;
        const auto ended = waitpid(pid_, &status, WNOHANG);
        if (ended == pid_) {
            exit_ = WIFEXITED(status) ? Exit{WEXITSTATUS(status), 0} : Exit{-1, WTERMSIG(status)};
        } else if (Clock::now() >= deadline) {
            return std::nullopt;
        } else {
            poll(nullptr, 0, 1);
        }
    }
    return exit_;
}

Finished run(const std::vector<std::string>& argv,
             const std::map<std::string, std::string>& environment, Process::Timeout timeout) {
    Process process(argv, environment);
    const auto exit = process.wait(timeout);
    if (!exit)
        throw std::runtime_error(argv.at(0) +
                                 " did not end in time; it wrote: " + process.errors());
    return {*exit, process.output(), process.errors()};
}

}  // namespace steplog::testing
