// The machine's limit: a loop on SQLite's C API alone that writes the rows of workflows as the
// engine does (same schema, same pragmas, same checkpoints, same sync), with no engine: no threads,
// no hashing, no JSON, nothing read. Used beside every measure that ends on the disk.
#pragma once

#include <sqlite3.h>

#include <filesystem>
#include <string>
#include <vector>

namespace steplog::bench {

class BareLoop {
  public:
    BareLoop(const std::filesystem::path& file, int steps, std::size_t payload);
    ~BareLoop();
    BareLoop(const BareLoop&) = delete;
    BareLoop& operator=(const BareLoop&) = delete;

    /// `batch` workflows side by side: one commit for each of their steps + 2 stages.
    void run_batch(int batch);

    /// Only the first stage: events and their instances, `bodies.size()` of them in one commit.
    void accept(const std::vector<std::string>& bodies);

  private:
    sqlite3_stmt* prepare(const char* sql);
    void exec(const char* sql);
    void step(sqlite3_stmt* statement);
    sqlite3_int64 insert_payload(const std::string& body);
    sqlite3_int64 insert_accepted(const std::string& body);
    void insert_entry(sqlite3_int64 instance, int n, const char* kind, const char* step,
                      const char* data, bool with_payload);
    void update(sqlite3_int64 instance, int n);
    void finish(sqlite3_int64 instance);
    void commit();
    void checkpoint_if_due();

    sqlite3* database_ = nullptr;
    std::vector<sqlite3_stmt*> statements_;
    sqlite3_stmt *payload_, *instance_, *event_, *entry_, *update_, *finish_, *begin_, *commit_;
    const int steps_;
    const std::string body_;
    const std::string hash_;
    sqlite3_int64 number_ = 0;
    int wal_frames_ = 0, wal_frames_seen_ = 0, checkpoint_at_ = 1000;
};

}  // namespace steplog::bench
