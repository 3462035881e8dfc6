// The story: in a file with a damaged index a schedule was due whose row was not found, and the
// claim read what was not there; in another one it was due at a text, which was taken for the year
// 1970, so that the engine looked again and again. Found by flipping bytes in a backup.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/schedule.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using ::testing::HasSubstr;
using testing::House;

class ScheduleWithoutItsRow : public ::testing::Test {
  protected:
    ScheduleWithoutItsRow() {
        house.add("report", [this](Context&, const Json&) {
            ++runs;
            return Json();
        });
        house.engine().schedule({{.name = "daily", .workflow = "report", .cron = "0 9 * * *"}});
    }

    // Leaves the schema as it was, and an index with what another schema would have in it.
    void index_by(const std::string& name, const std::string& other_schema) {
        const std::string schema =
            house.sql("SELECT sql FROM sqlite_schema WHERE name='" + name + "'");
        write_schema(name, other_schema);
        house.damage("REINDEX schedules");
        write_schema(name, schema);
    }
    void write_schema(const std::string& name, std::string schema) {
        for (std::size_t at = 0; (at = schema.find('\'', at)) != std::string::npos; at += 2)
            schema.insert(at, 1, '\'');
        house.damage("PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql='" + schema +
                     "' WHERE name='" + name + "'");
    }
    std::string changed_schema(const std::string& name, const std::string& from,
                               const std::string& to) {
        return house.sql("SELECT replace(sql, '" + from + "', '" + to +
                         "') FROM sqlite_schema WHERE name='" + name + "'");
    }
    std::string error_of_a_claim() {
        try {
            house.engine().run_until_idle();
        } catch (const StoreError& error) {
            return error.what();
        }
        return "";
    }

    House house;
    int runs = 0;
};

TEST_F(ScheduleWithoutItsRow, IsDamage) {
    std::string by_cron = changed_schema("schedules", "TEXT PRIMARY KEY CHECK", "TEXT CHECK");
    by_cron.replace(by_cron.find("TEXT NOT NULL,", by_cron.find("cron ")), 14,
                    "TEXT NOT NULL PRIMARY KEY,");
    index_by("schedules", by_cron);
    house.clock.advance(std::chrono::hours(24));
    EXPECT_THAT(error_of_a_claim(), HasSubstr("a schedule is due that is not there"));
    EXPECT_EQ(runs, 0);
}

TEST_F(ScheduleWithoutItsRow, IsDamageWhereItIsNotDue) {
    index_by("schedules_due", "CREATE INDEX schedules_due ON schedules(version)");
    EXPECT_THAT(error_of_a_claim(), HasSubstr("a schedule is due that is not there"));
    EXPECT_EQ(runs, 0);
}

TEST_F(ScheduleWithoutItsRow, IsNotDueByWhatIsNoTime) {
    index_by("schedules_due", "CREATE INDEX schedules_due ON schedules(name)");
    EXPECT_EQ(error_of_a_claim(), "");
    EXPECT_EQ(house.engine().next_due_ms(), std::nullopt);
}

}  // namespace
}  // namespace steplog
