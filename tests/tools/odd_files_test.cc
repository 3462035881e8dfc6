// workflow-inspect, pointed at what is no database, no longer one, or not this one: exit code 1,
// one line that says why, nothing changed, and never a wait (row 79 of the bad inputs). What a
// running, ended or crashed server leaves is in inspect_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <functional>
#include <random>

#include "tests/tools/shop.h"

namespace steplog::testing {
namespace {

using ::testing::HasSubstr;
namespace fs = std::filesystem;

const std::vector<std::vector<std::string>> verbs = {
    {"list"}, {"show", "evt_done"}, {"check"}, {"events", "--unrouted"}};

void write_bytes(const fs::path& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
}

std::string noise(std::size_t size) {
    std::mt19937_64 random(79);
    std::string bytes(size, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    return bytes;
}

class OddFiles : public ::testing::Test {
  protected:
    static void SetUpTestSuite() {
        shop = std::make_unique<Shop>();
        shop->close();
        database = file_text(shop->database());
    }
    static void TearDownTestSuite() { shop.reset(); }

    // Names, kinds and bytes of everything that lies beside the file.
    std::map<std::string, std::string> files() const {
        std::map<std::string, std::string> all;
        for (const auto& entry : fs::directory_iterator(directory_.path()))
            all[entry.path().filename()] =
                std::to_string(static_cast<int>(entry.symlink_status().type())) +
                (entry.is_regular_file() && !entry.is_symlink() ? file_text(entry.path()) : "");
        return all;
    }
    Finished inspect(std::vector<std::string> arguments) const {
        return run_tool("workflow-inspect", std::move(arguments),
                        {{"STEPLOG_DATABASE", path().string()}});
    }
    fs::path path() const { return directory_ / "odd.db"; }

    // Every verb refuses it with one line that holds `why`.
    void expect_refused(const std::string& why) const {
        const auto before = files();
        for (const auto& verb : verbs) {
            SCOPED_TRACE(verb.front());
            const Finished done = inspect(verb);
            EXPECT_EQ(done.exit.code, 1);
            EXPECT_EQ(done.output, "");
            EXPECT_THAT(done.errors, HasSubstr(why));
            EXPECT_EQ(std::count(done.errors.begin(), done.errors.end(), '\n'), 1) << done.errors;
        }
        EXPECT_EQ(files(), before);
    }

    static inline std::unique_ptr<Shop> shop;
    static inline std::string database;
    TemporaryDirectory directory_;
};

TEST_F(OddFiles, AreRefusedWithOneLineAndLeftAsTheyAre) {
    const auto bytes = [&](const std::string& content) {
        return [this, content] { write_bytes(path(), content); };
    };
    const auto sql = [&](const std::string& content, const std::string& statement) {
        return [this, content, statement] {
            if (!content.empty()) write_bytes(path(), content);
            SQLite::Database(path().string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE)
                .exec(statement);
        };
    };
    struct Odd {
        const char* name;
        std::function<void()> make;
        const char* why;
    };
    const std::vector<Odd> odd = {
        {"missing", [] {}, "there is no database"},
        {"0 bytes", bytes(""), "is empty"},
        {"a short text", bytes("dear diary"), "not a Steplog database"},
        {"a long text", bytes(std::string(100'000, 'x')), "not a Steplog database"},
        {"encrypted", bytes(noise(65'536)), "encrypted"},
        {"zeros", bytes(std::string(65'536, '\0')), "not a Steplog database"},
        {"another program's", sql("", "CREATE TABLE t(x)"), "another program"},
        {"newer", sql(database, "PRAGMA user_version=999"), "newer"},
        {"older", sql(database, "PRAGMA user_version=0"), "older"},
        {"cut in half", bytes(database.substr(0, database.size() / 2)), "damaged"},
        {"its first page only", bytes(database.substr(0, 4096)), "damaged"},
        {"its header only", bytes(database.substr(0, 100)), "cut short"},
        {"noise behind its first page",
         bytes(database.substr(0, 4096) + noise(database.size() - 4096)), "damaged"},
        {"a link", [this] { fs::create_symlink(shop->database(), path()); }, "a symbolic link"},
        {"a link to nothing", [this] { fs::create_symlink("/nowhere", path()); },
         "a symbolic link"},
        {"a directory", [this] { fs::create_directory(path()); }, "a directory"},
        {"a pipe", [this] { mkfifo(path().c_str(), 0600); }, "a pipe"},
        {"beside a write-ahead log that is a directory",
         [this] {
             write_bytes(path(), database);
             fs::create_directory(path().string() + "-wal");
         },
         "cannot open"},
    };
    for (const Odd& one : odd) {
        SCOPED_TRACE(one.name);
        for (const auto& entry : fs::directory_iterator(directory_.path()))
            fs::remove_all(entry.path());
        one.make();
        expect_refused(one.why);
    }
}

TEST_F(OddFiles, WithADamagedPageAreReadOrRefusedAndAlwaysFoundByCheck) {
    // A page in use that holds no part of the schema, so that the file can be opened.
    int found = 0;
    for (std::size_t page = 4096; page + 4096 <= database.size(); page += 4096) {
        std::string damaged = database;
        damaged.replace(page, 4096, noise(4096));
        write_bytes(path(), damaged);
        const auto before = files();
        for (const auto& verb : verbs) {
            const Finished done = inspect(verb);
            EXPECT_TRUE(done.exit.code == 0 || done.exit.code == 1) << verb.front();
            if (verb.front() != "check") {
                EXPECT_LE(std::count(done.errors.begin(), done.errors.end(), '\n'), 1);
                continue;
            }
            found += done.exit.code == 1;
            EXPECT_EQ(done.exit.code, 1) << "page " << page / 4096 + 1;
        }
        EXPECT_EQ(files(), before);
    }
    EXPECT_GT(found, 20);
}

TEST_F(OddFiles, NeverMakeItWait) {
    // Opening a pipe waits for somebody at its other end.
    for (const char* part : {".lock", "-wal", "-shm", ".sock"}) {
        SCOPED_TRACE(part);
        write_bytes(path(), database);
        ASSERT_EQ(mkfifo((path().string() + part).c_str(), 0600), 0);
        EXPECT_EQ(inspect({"list"}).exit.code, 0);
        fs::remove(path().string() + part);
    }
}

TEST_F(OddFiles, ThatThisUserMayNotReadAreRefused) {
    write_bytes(path(), database);
    fs::permissions(directory_.path(), fs::perms::owner_all | fs::perms::others_all);
    fs::permissions(path(), fs::perms::none);
    std::vector<std::string> command = {STEPLOG_BIN_DIR "/workflow-inspect", "list", "--database",
                                        path()};
    if (getuid() == 0) {
        // Nothing is forbidden to root; nobody may lack the way to the program itself.
        const std::vector<std::string> as_nobody = {"/usr/bin/setpriv", "--reuid=65534",
                                                    "--regid=65534", "--clear-groups"};
        auto may_run = as_nobody;
        may_run.insert(may_run.end(), {STEPLOG_BIN_DIR "/workflow-inspect", "--version"});
        if (!fs::exists(as_nobody.front()) || run(may_run).exit.code != 0)
            GTEST_SKIP() << "another user cannot run the program here";
        command.insert(command.begin(), as_nobody.begin(), as_nobody.end());
    }
    const Finished done = run(command);
    EXPECT_EQ(done.exit.code, 1);
    EXPECT_THAT(done.errors, HasSubstr("cannot be read by this user"));
}

}  // namespace
}  // namespace steplog::testing
