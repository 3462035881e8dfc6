// A database in which something of everything has happened, made by the real engine under a clock
// that stands still, and the programs of the tools run over it. Used by the tools' tests.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <string>
#include <vector>

#include "tests/engine/house.h"
#include "tests/support/process.h"

namespace steplog::testing {

/// Runs a program of ours to its end, without anything of this process's environment.
inline Finished run_tool(const std::string& name, std::vector<std::string> arguments,
                         const std::map<std::string, std::string>& environment = {}) {
    arguments.insert(arguments.begin(), std::string(STEPLOG_BIN_DIR) + "/" + name);
    return run(arguments, environment);
}

inline std::string file_text(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

/// Compares with tests/data/tools/<name>. STEPLOG_WRITE_APPROVED=1 writes the file instead: then
/// read what git diff shows.
inline void expect_approved(const std::string& name, const std::string& text) {
    const auto path = std::filesystem::path(STEPLOG_SOURCE_DIR) / "tests/data/tools" / name;
    if (std::getenv("STEPLOG_WRITE_APPROVED")) {
        std::ofstream(path, std::ios::binary) << text;
        return;
    }
    EXPECT_EQ(text, file_text(path)) << "differs from " << path;
}

class Shop {
  public:
    /// Two hours after the last thing happened there.
    static constexpr const char* now = "2026-01-01T02:00:30Z";

    Shop() {
        house.defaults.retry = {.attempts_max = 3, .base = Ms(60'000), .cap = Ms(60'000)};
        house.add("order", [](Context& ctx, const Json& input) {
            const std::string what = input.value("what", "");
            ctx.step("reserve", {.provider = "stock"}, [](const Attempt&) { return 7; });
            ctx.step("pay", {.provider = "bank", .repeat = Repeat::at_most_once},
                     [&](const Attempt&) -> Json {
                         if (what == "down")
                             throw RetryableError("the bank is closed",
                                                  {.code = "unavailable",
                                                   .outcome = Outcome::refused,
                                                   .retry_after = std::chrono::hours(3)});
                         if (what == "lost")
                             throw RetryableError("no answer in 20 s",
                                                  {.code = "timeout", .retry_after = Ms(1)});
                         if (what == "no")
                             throw PermanentError("card_declined",
                                                  "the card of ann@example.com was declined");
                         return {{"email", "ann@example.com"}, {"receipt", "r_1"}};
                     });
            if (what == "odd") ctx.stuck("odd_order", "nobody orders a thousand left shoes");
            return Json{{"paid", true}};
        });
        accept("evt_done", "", "cus_1");
        accept("evt_odd", "odd", "cus_2");
        accept("evt_down", "down", "cus_3");
        accept("evt_lost", "lost", "cus_4");
        accept("evt_no", "no", "cus_5");
        NewEvent other{.source = "shop",
                       .id = "evt_other",
                       .type = "price.changed",
                       .disposition = NewEvent::Disposition::ignored,
                       .reason = "no workflow wants it"};
        other.body = "{}";
        house.engine().accept(other, std::nullopt);
        run_for(Ms(30'000));
        accept("evt_behind", "", "cus_2");
    }

    /// One that runs, and one that is paused.
    void define_schedules() {
        Schedule nightly{.name = "nightly",
                         .workflow = "order",
                         .cron = "30 3 * * *",
                         .time_zone = "Europe/Berlin"};
        Schedule weekly{
            .name = "weekly", .workflow = "order", .cron = "@weekly", .overlap = Overlap::allow};
        house.engine().schedule({nightly, weekly});
        house.store()
            .change_schedule({.kind = ScheduleChange::Kind::pause, .name = "weekly"})
            .get();
    }

    void accept(const std::string& event, const std::string& what, const std::string& customer) {
        const Json body = {{"what", what},
                           {"name", "Ann Smith"},
                           {"email", "ann@example.com"},
                           {"items", {"shoe", "shoe"}}};
        house.engine().accept(
            NewEvent{.source = "shop",
                     .id = event,
                     .type = "order.paid",
                     .subject = customer,
                     .body = body.dump()},
            NewInstance{.id = "order/" + event, .workflow = "order", .key = "shop:" + customer});
        house.clock.advance(Ms(1));
    }
    /// Lets time pass, with what is due in it.
    void run_for(Ms span) {
        const std::int64_t end_ms = house.clock.now_ms() + span.count();
        house.engine().run_until_idle();
        for (auto due = house.engine().next_due_ms(); due && *due <= end_ms;
             due = house.engine().next_due_ms()) {
            house.clock.set_ms(std::max(*due, house.clock.now_ms()));
            house.engine().run_until_idle();
        }
        house.clock.set_ms(end_ms);
    }
    /// The server ends in good order.
    void close() { house.damage("SELECT 1"); }

    std::string database() const { return house.database(); }

    /// workflow-inspect over it, at `now`.
    Finished inspect(std::vector<std::string> arguments,
                     std::map<std::string, std::string> environment = {}) const {
        environment.emplace("STEPLOG_DATABASE", database());
        arguments.insert(arguments.end(), {"--now", now});
        return run_tool("workflow-inspect", std::move(arguments), environment);
    }
    Finished resume(std::vector<std::string> arguments) const {
        return run_tool("workflow-resume", std::move(arguments),
                        {{"STEPLOG_DATABASE", database()}});
    }

    House house;
};

}  // namespace steplog::testing
