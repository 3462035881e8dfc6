// What a measure asks of the operating system about a process.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace steplog::bench {

std::int64_t resident_bytes();  // of this process
double cpu_seconds();           // of this process, all threads
pid_t start_self(const char* verb, const char* database, int count);  // this program again
void kill_and_wait(pid_t child);                                      // SIGKILL

}  // namespace steplog::bench
