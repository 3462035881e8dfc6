// What takes workflow-resume seconds: keeping to a rate, and giving up on an owner who is silent.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "engine/commands.h"
#include "engine/control.h"
#include "engine/file_lock.h"
#include "tests/tools/shop.h"

namespace steplog::testing {
namespace {

using ::testing::HasSubstr;

TEST(ResumeProgram, KeepsToItsRate) {
    Shop shop;
    const ControlServer server(control_socket_path(shop.database()),
                               [&](const Json& command, const std::string& actor) {
                                   return handle_command(shop.house.engine(), command, actor);
                               });
    const auto begun = std::chrono::steady_clock::now();
    const Finished done = shop.resume({"--all", "--yes", "--rate", "1/s"});
    EXPECT_EQ(done.exit.code, 0) << done.errors;
    EXPECT_THAT(done.output, HasSubstr("resumed 2 instances"));
    EXPECT_GE(std::chrono::steady_clock::now() - begun, std::chrono::seconds(1));
    EXPECT_EQ(shop.house.sql("SELECT count(*) FROM audit"), "2");
}

TEST(ResumeProgram, GivesUpOnAnOwnerWhoIsSilent) {
    Shop shop;
    shop.close();
    const FileLock owner(shop.database());
    const Finished done = shop.resume({"evt_odd"});
    EXPECT_EQ(done.exit.code, 1);
    EXPECT_EQ(done.output, "");
    EXPECT_THAT(done.errors, HasSubstr("in use by process " + std::to_string(getpid())));
    EXPECT_THAT(done.errors, HasSubstr(".sock"));
}

}  // namespace
}  // namespace steplog::testing
