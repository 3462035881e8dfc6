// Deletes what has been finished for long enough, a little at a time, so that the database does not
// grow for ever. A thread of its own; main holds it.
#pragma once

#include <filesystem>
#include <thread>

#include "engine/clock.h"
#include "engine/store.h"
#include "server/log.h"

namespace steplog::server {

class Retention {
  public:
    /// Begins at once and looks again every hour, also for a kept write-ahead log of `database`
    /// that is too old (lost_commits.h). What it refers to must outlive it.
    Retention(Store& store, Log& log, Ms retention, const std::filesystem::path& database,
              const Clock& clock);

    /// One sweep: returns how many instances and events went. Leaves most of the time to whatever
    /// else is written. Stops early when asked to. Throws StoreError.
    static int sweep(Store& store, Ms retention, const std::stop_token& stop);

  private:
    std::jthread thread_;
};

}  // namespace steplog::server
