// Deletes what has been finished for long enough, a little at a time, so that the database does not
// grow for ever. A thread of its own; main holds it.
#pragma once

#include <thread>

#include "engine/clock.h"
#include "engine/store.h"
#include "server/log.h"

namespace steplog::server {

/// Event ids are kept at least so long whatever the setting: Stripe lists events, and resends them
/// by hand, for 30 days (docs.stripe.com/api/events).
inline constexpr Ms events_kept_min = std::chrono::hours(24 * 30);

class Retention {
  public:
    /// Begins at once and looks again every hour. What it refers to must outlive it.
    Retention(Store& store, const Clock& clock, Log& log, Ms retention);

    /// One sweep: returns how many rows went. Stops early when asked to. Throws StoreError.
    static int sweep(Store& store, const Clock& clock, Ms retention, const std::stop_token& stop);

  private:
    std::jthread thread_;
};

}  // namespace steplog::server
