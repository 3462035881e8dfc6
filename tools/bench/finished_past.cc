#include "tools/bench/finished_past.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "engine/clock.h"
#include "engine/sqlite_store.h"

namespace steplog::bench {
namespace {

constexpr int chunk = 100'000;  // instances in one transaction
constexpr std::int64_t day_ms = 24 * 60 * 60 * 1000;

class Loader {
  public:
    explicit Loader(const std::filesystem::path& database) {
        if (sqlite3_open_v2(database.c_str(), &database_, SQLITE_OPEN_READWRITE, nullptr) !=
            SQLITE_OK)
            throw std::runtime_error("the database to be loaded cannot be opened");
        // Bulk: nobody else is there, and a crash costs nothing but the bench.
        for (const char* pragma :
             {"journal_mode=MEMORY", "synchronous=OFF", "foreign_keys=OFF", "cache_size=-512000"})
            run(std::string("PRAGMA ") + pragma);
    }
    ~Loader() { sqlite3_close(database_); }
    Loader(const Loader&) = delete;
    Loader& operator=(const Loader&) = delete;

    void run(const std::string& sql) {
        if (sqlite3_exec(database_, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK)
            throw std::runtime_error(fmt::format("loading: {}", sqlite3_errmsg(database_)));
    }

  private:
    sqlite3* database_ = nullptr;
};

// Numbers from ?1 to ?2 as n, and the time at which the n-th ended.
std::string numbers(int from, int to, int all, std::int64_t now_ms) {
    return fmt::format(
        "WITH RECURSIVE numbers(n, at_ms) AS (SELECT {0}, {2}-{3}+{0}*{3}/{4} UNION ALL SELECT "
        "n+1, {2}-{3}+(n+1)*{3}/{4} FROM numbers WHERE n<{1}) ",
        from, to, now_ms, past_days * day_ms, all);
}

void load_finished(Loader& loader, int from, int to, int all, std::int64_t now_ms) {
    const std::string with = numbers(from, to, all, now_ms);
    loader.run("BEGIN");
    loader.run(
        with +
        "INSERT INTO instances(seq,id,workflow,version,state,key,step,attempt,log_length,log_hash,"
        "input_hash,created_at_ms,updated_at_ms,finished_at_ms) SELECT n, "
        "printf('bench/past/%08d',n), 'bench', 1, 'completed', printf('cus_%08d',n/4), 'step_1', "
        "1, 2, randomblob(32), randomblob(32), at_ms-40, at_ms, at_ms FROM numbers");
    loader.run(with +
               "INSERT INTO entries(instance,n,step,kind,attempt,generation,at_ms,data,hash) "
               "SELECT n, k, 'step_1', iif(k=1,'started','completed'), 1, 0, at_ms-20/k, iif(k=1,"
               "printf('{\"idempotency_key\":\"steplog:bench/past/%08d:step_1\"}',n),'{}'), "
               "randomblob(32) FROM numbers, (SELECT 1 AS k UNION ALL SELECT 2)");
    loader.run(with +
               fmt::format("INSERT INTO events(source,id,type,subject,disposition,instance,"
                           "body_hash,received_at_ms) SELECT 'bench', printf('evt_past_%08d',n), "
                           "'bench', printf('cus_%08d',n/4), 'routed', n, randomblob(32), at_ms-50 "
                           "FROM numbers WHERE at_ms>{}",
                           now_ms - past_days / 2 * day_ms));
    loader.run("COMMIT");
}

void load_unfinished(Loader& loader, int behind, std::int64_t now_ms) {
    const std::string with = numbers(1, 1100, 1100, now_ms);
    loader.run(with +
               fmt::format(
                   "INSERT INTO instances(seq,id,workflow,version,state,due_at_ms,waits_for,"
                   "error_code,error,key,holds_key,step,attempt,log_length,log_hash,input_hash,"
                   "created_at_ms,updated_at_ms) SELECT {}+n, printf('bench/now/%05d',n), 'bench', "
                   "1, iif(n<=100,'stuck','sleeping'), iif(n<=100,NULL,{}), iif(n<=100,NULL,"
                   "'timer'), iif(n<=100,'retries_exhausted',NULL), iif(n<=100,'it was down',NULL),"
                   " printf('now_%05d',n), 1, 'step_1', 3, 0, randomblob(32), randomblob(32), "
                   "at_ms, at_ms FROM numbers",
                   behind, now_ms + day_ms));
}

}  // namespace

std::string past_id(int n) { return fmt::format("bench/past/{:08}", n); }
std::string past_customer(int n) { return fmt::format("cus_{:08}", n / 4); }

void load_past(const std::filesystem::path& database, int instances) {
    Loader loader(database);
    const std::int64_t now_ms = SystemClock().now_ms();
    for (int from = 1; from <= instances; from += chunk)
        load_finished(loader, from, std::min(from + chunk - 1, instances), instances, now_ms);
    load_unfinished(loader, instances, now_ms);
    // As the server leaves a file that is as large as this one.
    loader.run("PRAGMA journal_mode=WAL");
}

void make_past(const std::filesystem::path& database, int instances) {
    SystemClock clock;
    open_sqlite_store({.database = database}, clock);
    load_past(database, instances);
}

}  // namespace steplog::bench
