// The server for hours: customers buy all the time, it is killed again and again, backed up, looked
// at and purged meanwhile. Nothing is lost or repeated, every backup holds what was acknowledged
// before it, and neither memory nor descriptors nor the write-ahead log grow. The usual length is
// 150 s; STEPLOG_SOAK_SECONDS, STEPLOG_SOAK_RATE (deliveries a second) and STEPLOG_SOAK_KILL
// (seconds of a life) ask for more. The database lies in TMPDIR: twelve hours want 10 GB there, and
// as much memory.
#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/core.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <numeric>
#include <thread>

#include "tests/storm/world.h"

namespace steplog::testing {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr int deliveries_per_customer = 14;  // six events, twice, and the echoes of our writes
constexpr double mebibyte = 1024.0 * 1024.0;

// One life of the server, looked at shortly before its end.
struct Life {
    double at_h = 0;
    double rss_mib = 0;
    int descriptors = 0;
};

double median(std::vector<double> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

// Of a line through the points, by least squares.
double slope(const std::vector<Life>& lives) {
    const auto n = static_cast<double>(lives.size());
    double x = 0, y = 0, xx = 0, xy = 0;
    for (const Life& life : lives) {
        x += life.at_h;
        y += life.rss_mib;
        xx += life.at_h * life.at_h;
        xy += life.at_h * life.rss_mib;
    }
    const double spread = n * xx - x * x;
    return spread == 0 ? 0 : (n * xy - x * y) / spread;
}

class Soak : public StormWorld {
  protected:
    Soak() {
        house_ = fs::temp_directory_path() / fmt::format("steplog-soak-{}", getpid());
        fs::create_directories(house_);
        database_ = house_ / "steplog.db";
    }
    ~Soak() override {
        server_.reset();
        std::error_code ignored;
        fs::remove_all(house_, ignored);
    }

    Life look(SteadyClock::time_point begin) const {
        Life life;
        life.at_h =
            std::chrono::duration<double, std::ratio<3600>>(SteadyClock::now() - begin).count();
        std::ifstream status(fmt::format("/proc/{}/status", pid()));
        for (std::string line; std::getline(status, line);)
            if (line.rfind("VmRSS:", 0) == 0) life.rss_mib = std::atof(line.c_str() + 6) / 1024;
        const auto all = fs::directory_iterator(fmt::format("/proc/{}/fd", pid()));
        life.descriptors = static_cast<int>(std::distance(fs::begin(all), fs::end(all)));
        return life;
    }

    void look_at_the_wal() {
        std::error_code none;
        const auto size = fs::file_size(database_.string() + "-wal", none);
        if (!none) wal_max_ = std::max(wal_max_, static_cast<double>(size) / mebibyte);
    }

    // Whatever was acknowledged before it began is in the copy.
    void back_up() {
        std::vector<std::string> before;
        for (const auto& told : sender().acknowledgements())
            if (told.acknowledged) before.push_back(told.event);
        const fs::path copy = house_ / "backup.db";
        const auto done = run({STEPLOG_BIN_DIR "/workflow-admin", "backup", copy},
                              {{"STEPLOG_DATABASE", database_.string()}}, 300s);
        ASSERT_EQ(done.exit.code, 0) << done.errors;
        SQLite::Database database(copy.string(), SQLite::OPEN_READONLY);
        SQLite::Statement event(database, "SELECT count(*) FROM events WHERE id=?");
        for (const auto& id : before) {
            event.reset();
            event.bind(1, id);
            event.executeStep();
            EXPECT_EQ(event.getColumn(0).getInt(), 1) << id << " is not in the backup";
        }
        fs::remove(copy);
        ++backups_;
    }

    void inspect() {
        for (const std::string verb : {"stats", "stuck"}) {
            const auto done = run({STEPLOG_BIN_DIR "/workflow-inspect", verb, "--json"},
                                  {{"STEPLOG_DATABASE", database_.string()}}, 60s);
            EXPECT_EQ(done.exit.code, 0) << verb << ": " << done.errors;
            ++looks_;
        }
    }

    fs::path house_;
    double wal_max_ = 0;
    int backups_ = 0, looks_ = 0;
};

TEST_F(Soak, LosesNothingRepeatsNothingAndDoesNotGrow) {
    const auto length = std::chrono::seconds(wanted("STEPLOG_SOAK_SECONDS", 150));
    const auto life_time = std::chrono::seconds(wanted("STEPLOG_SOAK_KILL", 10));
    const auto pause = Ms(1000 * deliveries_per_customer / wanted("STEPLOG_SOAK_RATE", 50));
    const auto backup_pause = length > 10min ? std::chrono::seconds(600s) : 30s;
    set("STEPLOG_RETENTION", "1h");
    std::vector<Life> lives_led;
    const auto begin = SteadyClock::now();
    auto next_customer = begin, next_backup = begin + backup_pause, next_look = begin;
    restart();
    auto born = SteadyClock::now();
    while (SteadyClock::now() < begin + length) {
        ASSERT_TRUE(lives(Ms(20))) << log();
        look_at_the_wal();
        const auto now = SteadyClock::now();
        for (; next_customer < now; next_customer += pause) buy(1);
        if (now >= next_look) {
            inspect();
            next_look = now + 2s;
        }
        if (now >= next_backup) {
            back_up();
            next_backup = now + backup_pause;
        }
        if (now >= born + life_time) {
            lives_led.push_back(look(begin));
            kill_server();
            restart();
            born = SteadyClock::now();
        }
    }
    settle_resuming("poison", 600s);
    const auto sum = expect_nothing_lost_or_repeated();
    EXPECT_LE(wal_max_, 64);

    // The first lives work on a small database, with cold caches: the middle third is the measure.
    ASSERT_GE(lives_led.size(), 6u);
    const auto third = lives_led.size() / 3;
    const auto of = [&](std::size_t from, std::size_t to, auto what) {
        std::vector<double> values;
        for (auto i = from; i < to; ++i) values.push_back(what(lives_led[i]));
        return median(values);
    };
    const auto rss = [](const Life& life) { return life.rss_mib; };
    const auto descriptors = [](const Life& life) { return double(life.descriptors); };
    const auto last = lives_led.size();
    EXPECT_LE(of(last - third, last, rss), of(third, last - third, rss) + 8);
    EXPECT_LE(of(last - third, last, descriptors), of(third, last - third, descriptors) + 8);
    fmt::print(
        "{} s, {} lives, {} backups, {} looks: {} acknowledged ({:.0f}/s), {} lost; {} customers, "
        "{} effects and {} steps repeated; memory {:.0f} then {:.0f} MiB (slope {:.1f} MiB/h), "
        "descriptors {:.0f} then {:.0f}, WAL at most {:.1f} MiB, database {:.0f} MiB\n",
        length.count(), last + 1, backups_, looks_, sum.acknowledged,
        sum.acknowledged / static_cast<double>(length.count()), sum.lost, customers(),
        sum.repeated_effects, sum.repeated_steps, of(third, last - third, rss),
        of(last - third, last, rss),
        slope({lives_led.begin() + static_cast<std::ptrdiff_t>(third), lives_led.end()}),
        of(third, last - third, descriptors), of(last - third, last, descriptors), wal_max_,
        static_cast<double>(fs::file_size(database_)) / mebibyte);
}

}  // namespace
}  // namespace steplog::testing
