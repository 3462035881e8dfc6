#include "server/watchdog.h"

#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <string>

#include "engine/text.h"
#include "server/process.h"

namespace steplog::server {

std::optional<Ms> watchdog_wanted() {
    const char* microseconds = std::getenv("WATCHDOG_USEC");
    const char* pid = std::getenv("WATCHDOG_PID");
    if (microseconds == nullptr) return std::nullopt;
    if (pid != nullptr && pid != std::to_string(getpid())) return std::nullopt;
    const auto wanted = parse_count(microseconds, 24 * 3'600'000'000LL);
    if (!wanted || *wanted == 0) return std::nullopt;
    return std::max(Ms(*wanted / 1000), Ms(1));
}

bool writer_answers(Store& store, Ms patience) {
    try {
        auto nothing_claimed = store.claim({.limit = 0, .busy = 0});
        if (nothing_claimed.wait_for(patience) != std::future_status::ready) return false;
        nothing_claimed.get();
        return true;
    } catch (const StoreError& error) {
        return error.kind() == StoreError::Kind::full;
    }
}

Watchdog::Watchdog(Ms interval, std::function<bool()> is_alive)
    : thread_([interval, is_alive = std::move(is_alive)](const std::stop_token& stop) {
          std::mutex mutex;
          std::condition_variable_any stopped;
          std::unique_lock lock(mutex);
          while (!stop.stop_requested()) {
              if (is_alive()) notify_supervisor("WATCHDOG=1");
              stopped.wait_for(lock, stop, std::max(interval / 3, Ms(1)), [] { return false; });
          }
      }) {}

}  // namespace steplog::server
