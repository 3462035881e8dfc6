// The server's log: one line an event, as JSON or as text, to standard error. Made by main and
// handed to whoever logs; there is no global one. Any thread may log; a line is written before
// log() returns; when nobody reads what is written, lines are dropped, and their number is told
// later. What must not be lost stands in the database, not here.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "server/settings.h"

namespace steplog {
struct Transitioned;
}

namespace steplog::server {

/// A name and a value beside a message. Never a payload, a key, a signature or an e-mail address.
struct Field {
    std::string_view name;
    std::variant<std::string, std::int64_t, bool> value;
};

class Log {
  public:
    struct Options {
        LogLevel level = LogLevel::info;
        LogFormat format = LogFormat::json;
        std::function<void(const std::string& line)> capture =
            {};              // tests: instead of the descriptor
        int descriptor = 2;  // standard error
        std::string service = "steplog";
    };
    explicit Log(Options options);
    ~Log();
    Log(const Log&) = delete;
    Log& operator=(const Log&) = delete;

    /// Control characters are escaped and what is not UTF-8 is replaced; a message and each value
    /// are cut at 2 KiB. Never throws: a log that cannot be written must not stop the work.
    void write(LogLevel level, std::string_view message,
               const std::vector<Field>& fields = {}) noexcept;

    LogFormat format() const { return options_.format; }

    void debug(std::string_view message, const std::vector<Field>& fields = {}) noexcept;
    void info(std::string_view message, const std::vector<Field>& fields = {}) noexcept;
    void warn(std::string_view message, const std::vector<Field>& fields = {}) noexcept;
    void error(std::string_view message, const std::vector<Field>& fields = {}) noexcept;

  private:
    struct Sink;
    Options options_;
    std::unique_ptr<Sink> sink_;
};

/// One line for what an instance just did, with instance= step= attempt= epoch= took_ms=. A stuck
/// instance is an error that begins with "CRITICAL:", and "USER NOT CREATED" stands in it when it
/// is a provision_customer that has no user yet: people search their logs for both. `trace_id` is
/// its trace's, whether traces are sent anywhere or not; in JSON the instance is also `run_id`, and
/// the event that it was started by `event_id`.
void log_transition(Log& log, const Transitioned& transitioned) noexcept;

}  // namespace steplog::server
