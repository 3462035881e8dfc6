// A database that grows beyond 1 GiB, where SQLite leaves a page out (the one with the byte at
// 1,073,741,824, page 262,145 of 4 KiB each: locks of other journal modes lie there). The engine
// works before it, over it and behind it; chains and structure are whole, and a copy too.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include "engine/inspect.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using testing::House;

constexpr std::int64_t lock_page = 262'145;
constexpr std::size_t mebibyte = 1024 * 1024;

class LargeDatabase : public ::testing::Test {
  protected:
    LargeDatabase() {
        house_.add("order", [](Context& ctx, const Json& input) {
            const Json first = ctx.step("first", {}, [&](const Attempt&) { return input; });
            return ctx.step("second", {}, [&](const Attempt&) { return first; });
        });
    }

    std::int64_t pages() { return std::stoll(house_.sql("PRAGMA page_count")); }

    // Events that no workflow wants, as large as they may be.
    void fill_to(std::int64_t pages_wanted) {
        const std::string body(mebibyte, 'x');
        for (; pages() < pages_wanted; ++filled_)
            house_.engine().accept(NewEvent{.source = "stripe",
                                            .id = fmt::format("evt_fill{}", filled_),
                                            .type = "customer.created",
                                            .subject = "cus_1",
                                            .disposition = NewEvent::Disposition::ignored,
                                            .reason = "filler",
                                            .body = body},
                                   std::nullopt);
    }
    void order() {
        const std::string id = fmt::format("order/{}", orders_++);
        house_.start(id, "order", {{"text", std::string(3000, 'o')}});
        house_.run_to_the_end();
        ASSERT_EQ(house_.state(id), "completed");
    }
    void expect_whole() {
        EXPECT_EQ(house_.sql("PRAGMA quick_check"), "ok");
        const auto report = Inspector(house_.database(), house_.clock).check();
        for (const auto& check : report.checks) EXPECT_EQ(check.broken, 0) << check.name;
        EXPECT_EQ(house_.sql("SELECT count(*) FROM instances WHERE state='completed'"),
                  std::to_string(orders_));
    }

    House house_;
    int filled_ = 0, orders_ = 0;
};

TEST_F(LargeDatabase, IsWholeAndWorksBeyondAGibibyte) {
    fill_to(lock_page - 2'000);
    ASSERT_LT(pages(), lock_page);
    const int before = orders_;
    while (pages() < lock_page + 500) order();
    const int over = orders_ - before;
    EXPECT_GT(over, 10) << "the boundary was not crossed by the engine's own work";
    expect_whole();
    house_.restart();
    fill_to(lock_page + 20'000);
    for (int i = 0; i < 20; ++i) order();
    house_.remember();
    house_.die_as_remembered();
    for (int i = 0; i < 20; ++i) order();
    expect_whole();
    const auto copy = house_.back_up();
    EXPECT_GT(std::filesystem::file_size(copy), 1024 * mebibyte);
    fmt::print("{} pages of 4 KiB, {} workflows over the boundary, {} in all: whole\n", pages(),
               over, orders_);
}

}  // namespace
}  // namespace steplog
