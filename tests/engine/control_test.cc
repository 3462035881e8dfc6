// The control socket, both ends, and the commands that travel through it.
#include "engine/control.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <fstream>
#include <future>
#include <thread>

#include "engine/commands.h"
#include "tests/engine/house.h"

namespace steplog {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TemporaryDirectory;
namespace fs = std::filesystem;

constexpr Ms patience = std::chrono::seconds(10);

Json echo(const Json& request, const std::string& actor) {
    return {{"request", request}, {"actor", actor}};
}

// A client that connects and then does as it likes.
class RawClient {
  public:
    explicit RawClient(const fs::path& path) : descriptor_(socket(AF_UNIX, SOCK_STREAM, 0)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
        EXPECT_EQ(connect(descriptor_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    }
    ~RawClient() { close(descriptor_); }
    RawClient(const RawClient&) = delete;
    RawClient& operator=(const RawClient&) = delete;
    void send_text(const std::string& text) {
        send(descriptor_, text.data(), text.size(), MSG_NOSIGNAL);
    }
    /// Until the other side ends.
    std::string read_all() {
        std::string all;
        char buffer[4096];
        for (ssize_t size; (size = recv(descriptor_, buffer, sizeof buffer, 0)) > 0;)
            all.append(buffer, static_cast<std::size_t>(size));
        return all;
    }

  private:
    int descriptor_;
};

class ControlTest : public ::testing::Test {
  protected:
    TemporaryDirectory directory;
    fs::path path = control_socket_path(directory / "test.db");
};

TEST_F(ControlTest, AnswersAndKnowsWhoAsks) {
    const ControlServer server(path, echo);
    const Json answer = control_call(path, {{"command", "x"}, {"ids", {"a", "b"}}}, patience);
    EXPECT_EQ(answer.at("request").at("ids").size(), 2u);
    EXPECT_EQ(answer.at("actor"), "uid:" + std::to_string(getuid()));
}

TEST_F(ControlTest, IsForItsUserAlone) {
    const mode_t before = umask(0);
    const ControlServer server(path, echo);
    umask(before);
    struct stat status {};
    ASSERT_EQ(lstat(path.c_str(), &status), 0);
    EXPECT_TRUE(S_ISSOCK(status.st_mode));
    EXPECT_EQ(status.st_mode & 07777, 0600u);
}

TEST_F(ControlTest, WorksAtTheEndOfALongPath) {
    fs::path deep = directory.path();
    for (int i = 0; i < 4; ++i) deep /= std::string(100, 'd');
    fs::create_directories(deep);
    const ControlServer server(deep / "x.sock", echo);
    EXPECT_EQ(control_call(deep / "x.sock", {{"a", 1}}, patience).at("request").at("a"), 1);
}

TEST_F(ControlTest, TellsAnAbsentServerFromAFailingOne) {
    EXPECT_THROW(control_call(path, Json::object(), patience), NoServerError);
    const ControlServer server(path, [](const Json&, const std::string&) -> Json {
        throw std::invalid_argument("that cannot be done");
    });
    try {
        control_call(path, Json::object(), patience);
        FAIL();
    } catch (const NoServerError&) {
        FAIL() << "a server is there";
    } catch (const ControlError& error) {
        EXPECT_STREQ(error.what(), "that cannot be done");
    }
}

TEST_F(ControlTest, ReplacesWhatADeadOwnerLeft) {
    const int dead = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    ASSERT_EQ(bind(dead, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    close(dead);
    ASSERT_TRUE(fs::exists(path));
    EXPECT_THROW(control_call(path, Json::object(), patience), NoServerError);
    const ControlServer server(path, echo);
    EXPECT_NO_THROW(control_call(path, Json::object(), patience));
}

TEST_F(ControlTest, LeavesAFileAloneThatIsNoSocket) {
    std::ofstream(path) << "precious";
    EXPECT_THROW(ControlServer(path, echo), std::runtime_error);
    EXPECT_EQ(fs::file_size(path), 8u);
    EXPECT_THROW(control_call(path, Json::object(), patience), ControlError);
}

TEST_F(ControlTest, TakesItsSocketAwayButNotItsSuccessors) {
    auto first = std::make_unique<ControlServer>(path, echo);
    first.reset();
    EXPECT_FALSE(fs::exists(path));
    first = std::make_unique<ControlServer>(path, echo);
    const ControlServer second(path, echo);
    first.reset();
    EXPECT_NO_THROW(control_call(path, Json::object(), patience));
}

TEST_F(ControlTest, IsNotHeldUpByClientsThatHang) {
    const ControlServer server(path, echo);
    std::vector<std::unique_ptr<RawClient>> hanging;
    for (int i = 0; i < 10; ++i) {
        hanging.push_back(std::make_unique<RawClient>(path));
        hanging.back()->send_text("{\"half\":");
    }
    EXPECT_NO_THROW(control_call(path, Json::object(), patience));
}

TEST_F(ControlTest, TurnsAwayTheSlowTheLargeAndTheUnreadable) {
    const ControlServer server(
        path, echo,
        {.request_bytes_max = 100, .request_deadline = Ms(50), .reply_deadline = Ms(50)});
    RawClient slow(path), large(path), text(path), array(path), cut(path);
    slow.send_text("{");
    large.send_text("{\"a\":\"" + std::string(1000, 'x') + "\"}\n");
    text.send_text("resume everything\n");
    array.send_text("[1]\n");
    for (RawClient* client : {&slow, &large, &text, &array})
        EXPECT_THAT(client->read_all(), HasSubstr("\"error\""));
    EXPECT_NO_THROW(control_call(path, Json::object(), patience));
}

TEST_F(ControlTest, RefusesMoreThanItCanCarry) {
    const ControlServer server(path, echo, {.connections_max = 2, .request_deadline = patience});
    RawClient one(path), two(path), three(path);
    EXPECT_THAT(three.read_all(), HasSubstr("try again"));
    EXPECT_THROW(control_call(path, Json::object(), patience), ControlError);
}

TEST_F(ControlTest, AnswersWhatIsUnderWayBeforeItEnds) {
    std::promise<void> entered, go_on;
    auto server = std::make_unique<ControlServer>(path, [&](const Json&, const std::string&) {
        entered.set_value();
        go_on.get_future().wait();
        return Json("done");
    });
    auto answer = std::async(std::launch::async,
                             [&] { return control_call(path, Json::object(), patience); });
    entered.get_future().wait();
    auto ending = std::async(std::launch::async, [&] { server.reset(); });
    go_on.set_value();
    EXPECT_EQ(answer.get(), "done");
    ending.get();
}

TEST_F(ControlTest, GivesUpOnAServerThatDoesNotAnswer) {
    std::promise<void> go_on;
    const auto wait = go_on.get_future().share();
    const ControlServer server(path, [wait](const Json&, const std::string&) {
        wait.wait();
        return Json();
    });
    EXPECT_THROW(control_call(path, Json::object(), Ms(50)), ControlError);
    go_on.set_value();
}

TEST_F(ControlTest, AnswersManyAtOnce) {
    std::atomic<int> handled = 0;
    const ControlServer server(path, [&](const Json& request, const std::string&) {
        ++handled;
        return request;
    });
    std::vector<std::thread> clients;
    for (int i = 0; i < 8; ++i)
        clients.emplace_back([&, i] {
            for (int k = 0; k < 20; ++k)
                EXPECT_EQ(control_call(path, {{"n", i * 100 + k}}, patience).at("n"), i * 100 + k);
        });
    for (std::thread& client : clients) client.join();
    EXPECT_EQ(handled, 160);
}

TEST(Commands, TravelUnchanged) {
    const ResumeRequest request{.state = State::sleeping,
                                .workflow = "w",
                                .step = "s",
                                .error_code = "e",
                                .older_than = Ms(5000),
                                .limit = 7};
    const ResumeRequest back = parse_resume_command(resume_command(request));
    EXPECT_EQ(back.state, request.state);
    EXPECT_EQ(back.workflow + back.step + back.error_code, "wse");
    EXPECT_EQ(back.older_than, request.older_than);
    EXPECT_EQ(back.limit, 7);
    EXPECT_THAT(parse_resume_command(resume_command({.ids = {"a", "b"}})).ids,
                ElementsAre("a", "b"));
    const Resumed resumed =
        parse_resumed(json_of(Resumed{.ids = {"a"}, .skipped = {{"b", "running"}}}));
    EXPECT_THAT(resumed.ids, ElementsAre("a"));
    EXPECT_EQ(resumed.skipped.at(0).reason, "running");

    const CancelRequest cancel =
        parse_cancel_command(cancel_command({.ids = {"a", "b"}, .reason = "refunded"}));
    EXPECT_THAT(cancel.ids, ElementsAre("a", "b"));
    EXPECT_EQ(cancel.reason, "refunded");
    const Cancelled cancelled = parse_cancelled(
        json_of(Cancelled{.ids = {"a"}, .requested = {"b"}, .skipped = {{"c", "it has ended"}}}));
    EXPECT_THAT(cancelled.ids, ElementsAre("a"));
    EXPECT_THAT(cancelled.requested, ElementsAre("b"));
    EXPECT_EQ(cancelled.skipped.at(0).id, "c");
}

TEST(Commands, RefuseWhatTheyDoNotUnderstand) {
    testing::House house;
    house.add("w", [](Context&, const Json&) { return Json(); });
    house.start("w/1", "w");
    house.engine().run_until_idle();
    house.clock.advance(Ms(1));
    for (const Json& wrong :
         {Json::array(),
          Json::object(),
          Json{{"command", "drop"}},
          Json{{"command", "resume"}, {"ids", Json::array()}},
          Json{{"command", "resume"}, {"ids", "a"}},
          Json{{"command", "resume"}, {"ids", {1}}},
          Json{{"command", "resume"}, {"state", "broken"}},
          Json{{"command", "resume"}, {"limit", -1}},
          Json{{"command", "resume"}, {"limit", 1e30}},
          Json{{"command", "resume"}, {"older_than_ms", "1h"}},
          Json{{"command", "resume"}, {"all", true}},
          Json{{"command", "cancel"}},
          Json{{"command", "cancel"}, {"ids", Json::array()}},
          Json{{"command", "cancel"}, {"ids", {"w/1"}}, {"state", "stuck"}},
          Json{{"command", "cancel"}, {"ids", {"w/1"}}, {"reason", 1}},
          Json{{"command", "purge"}},
          Json{{"command", "purge"}, {"older_than_ms", -1}},
          Json{{"command", "purge"}, {"older_than_ms", 0}, {"limit", 10'001}},
          Json{{"command", "purge"}, {"older_than_ms", 0}, {"reason", std::string(1001, 'x')}},
          Json{{"command", "purge"}, {"older_than_ms", 0}, {"all", true}}})
        EXPECT_THROW(handle_command(house.store(), wrong, "uid:0"), std::invalid_argument) << wrong;
    EXPECT_EQ(house.sql("SELECT count(*) FROM audit"), "0");
    EXPECT_EQ(house.sql("SELECT count(*) FROM instances"), "1");
}

TEST(Commands, PurgeForAPersonWithTheirReason) {
    testing::House house;
    house.add("w", [](Context&, const Json&) { return Json(); });
    house.start("w/1", "w");
    house.engine().run_until_idle();
    house.clock.advance(std::chrono::hours(2));
    const auto order = [&](Ms older_than) {
        return parse_purged(handle_command(
            house.engine(), purge_command({.older_than = older_than, .reason = "room"}), "uid:42"));
    };
    EXPECT_EQ(order(std::chrono::hours(3)).instances, 0);
    EXPECT_EQ(house.sql("SELECT count(*) FROM audit"), "0");
    EXPECT_EQ(order(std::chrono::hours(1)).instances, 1);
    EXPECT_EQ(house.sql("SELECT actor||' '||action||' '||target||' '||detail FROM audit"),
              "uid:42 purge finished before 2026-01-01T01:00:00.000Z "
              R"({"events":0,"instances":1,"reason":"room"})");
}

TEST(Commands, ReachAStoreWithTheirActor) {
    testing::House house;
    house.add("odd", [](Context& ctx, const Json&) -> Json { ctx.stuck("odd", "odd"); });
    house.start("odd/1", "odd");
    house.engine().run_until_idle();
    const Json result =
        handle_command(house.store(), resume_command({.ids = {"odd/1", "odd/2"}}), "uid:42");
    EXPECT_EQ(result.at("ids"), Json({"odd/1"}));
    EXPECT_EQ(result.at("skipped").at(0).at("id"), "odd/2");
    EXPECT_EQ(house.sql("SELECT actor FROM audit"), "uid:42");
    const Json again = handle_command(house.engine(), resume_command({.ids = {"odd/1"}}), "uid:42");
    EXPECT_EQ(again.at("ids").size(), 0u);
    EXPECT_THAT(again.at("skipped").at(0).at("reason").get<std::string>(), HasSubstr("pending"));
    const Json ended = handle_command(house.engine(), cancel_command({.ids = {"odd/1"}}), "uid:7");
    EXPECT_EQ(ended.at("ids"), Json({"odd/1"}));
    EXPECT_EQ(house.sql("SELECT actor FROM audit WHERE action='cancel'"), "uid:7");
}

}  // namespace
}  // namespace steplog
