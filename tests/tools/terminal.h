// A program with a terminal instead of pipes: for what it does only there.
#pragma once

#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace steplog::testing {

struct OnTerminal {
    int code = -1;
    std::string output;  // what the terminal shows, both streams and the echo
};

/// Runs argv with `typed` waiting on its terminal, and exactly this environment.
inline OnTerminal run_on_terminal(const std::vector<std::string>& argv,
                                  const std::map<std::string, std::string>& environment,
                                  const std::string& typed) {
    std::vector<std::string> settings;
    for (const auto& [name, value] : environment) settings.push_back(name + "=" + value);
    std::vector<char*> arguments, variables;
    for (const std::string& argument : argv)
        arguments.push_back(const_cast<char*>(argument.c_str()));
    for (const std::string& setting : settings)
        variables.push_back(const_cast<char*>(setting.c_str()));
    arguments.push_back(nullptr);
    variables.push_back(nullptr);
    winsize size{.ws_row = 24, .ws_col = 100, .ws_xpixel = 0, .ws_ypixel = 0};
    int terminal = -1;
    const pid_t child = forkpty(&terminal, nullptr, nullptr, &size);
    if (child < 0) throw std::runtime_error("cannot make a terminal");
    if (child == 0) {
        execve(arguments[0], arguments.data(), variables.data());
        _exit(127);
    }
    if (write(terminal, typed.data(), typed.size()) != static_cast<ssize_t>(typed.size()))
        throw std::runtime_error("cannot type");
    OnTerminal result;
    char buffer[4096];
    for (ssize_t length; (length = read(terminal, buffer, sizeof buffer)) > 0;)
        result.output.append(buffer, static_cast<std::size_t>(length));
    int status = 0;
    waitpid(child, &status, 0);
    close(terminal);
    if (WIFEXITED(status)) result.code = WEXITSTATUS(status);
    return result;
}

}  // namespace steplog::testing
