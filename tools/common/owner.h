// The way to whoever may write the database: the server that runs on it, asked through its control
// socket; or, when none runs, this program itself, for as long as one command takes, or until it
// ends. Used by every program that changes something; one thread.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "engine/clock.h"
#include "engine/types.h"

namespace steplog {
class Store;
}

namespace steplog::tools {

class Owner {
  public:
    /// `program`: what the owners table says when this program writes the file itself.
    Owner(std::filesystem::path database, std::string program, Clock& clock);
    ~Owner();

    /// Carries out a command (engine/commands.h) as this user and returns its result; what it
    /// changed is durable on return. Throws Failure when the database has an owner who does not
    /// answer, ControlError when the server refuses, std::invalid_argument, OpenError, StoreError.
    Json order(const Json& command);

    /// For many orders: from the first one that this program carries out itself it keeps the
    /// database, which is opened and checked once then, and a server that starts before its end is
    /// refused.
    void keep_the_database() { keep_ = true; }

    /// True when the last order was carried out by a running server.
    bool served() const { return served_; }

  private:
    std::optional<Json> ask_server(const Json& command);
    std::optional<Json> do_it_here(const Json& command);

    const std::filesystem::path database_;
    const std::string program_;
    Clock& clock_;
    bool served_ = false;
    bool keep_ = false;
    std::unique_ptr<Store> kept_;
    std::string locked_;  // what the lock's holder is, when it kept us out
};

}  // namespace steplog::tools
