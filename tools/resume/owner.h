// The way to whoever may write the database: the server that runs on it, asked through its control
// socket; or, when none runs, this program itself, for as long as one command takes. Used by
// workflow-resume; one thread.
#pragma once

#include <filesystem>

#include "engine/clock.h"
#include "engine/store.h"

namespace steplog::tools {

class Owner {
  public:
    Owner(std::filesystem::path database, Clock& clock);

    /// Carries out the request; it is durable on return. Throws Failure when the database has an
    /// owner who does not answer, ControlError when the server refuses, OpenError, StoreError.
    Resumed resume(const ResumeRequest& request);

    /// True when the last resume was carried out by a running server.
    bool served() const { return served_; }

  private:
    std::optional<Resumed> ask_server(const ResumeRequest& request);
    std::optional<Resumed> do_it_here(const ResumeRequest& request);

    const std::filesystem::path database_;
    Clock& clock_;
    bool served_ = false;
    std::string locked_;  // what the lock's holder is, when it kept us out
};

}  // namespace steplog::tools
