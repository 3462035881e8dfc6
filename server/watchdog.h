// Keeps systemd's watchdog (WatchdogSec=) satisfied for as long as the server is alive: a hung one
// is ended and started again, and goes on from the step log. Used by serve; a thread of its own.
#pragma once

#include <functional>
#include <optional>
#include <thread>

#include "engine/store.h"
#include "engine/types.h"

namespace steplog::server {

/// How often the supervisor wants to hear of this process (WATCHDOG_USEC, WATCHDOG_PID,
/// sd_watchdog_enabled(3)); nothing when it does not.
std::optional<Ms> watchdog_wanted();

/// True when the store's writer answers within `patience`: also when it says that the disk is full,
/// which a restart would not mend.
bool writer_answers(Store& store, Ms patience);

class Watchdog {
  public:
    /// Says WATCHDOG=1 every third of `interval` while `is_alive` returns true. It may block.
    Watchdog(Ms interval, std::function<bool()> is_alive);

  private:
    std::jthread thread_;
};

}  // namespace steplog::server
