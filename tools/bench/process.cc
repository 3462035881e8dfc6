#include "tools/bench/process.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <stdexcept>
#include <string>

extern char** environ;

namespace steplog::bench {

std::int64_t resident_bytes() {
    std::ifstream pages("/proc/self/statm");
    std::int64_t all = 0, resident = 0;
    pages >> all >> resident;
    return resident * sysconf(_SC_PAGESIZE);
}

double cpu_seconds() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
    };
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

pid_t start_self(const char* verb, const char* database, int count) {
    std::string self = "workflow-bench", number = std::to_string(count);
    std::string verb_copy = verb, database_copy = database;
    char* arguments[] = {self.data(), verb_copy.data(), database_copy.data(), number.data(),
                         nullptr};
    pid_t child = 0;
    if (posix_spawn(&child, "/proc/self/exe", nullptr, nullptr, arguments, environ) != 0)
        throw std::runtime_error("cannot start the process to be killed");
    return child;
}

void kill_and_wait(pid_t child) {
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
}

}  // namespace steplog::bench
