// Reads what is in a database with plain SQL and says where it differs from the reference. Opens a
// read-only connection of its own beside the store's; lives no longer than the store. One thread.
#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include <map>
#include <string>

#include "engine/payloads.h"
#include "engine/sqlite_connection.h"
#include "tests/model/reference.h"

namespace steplog::testing {

class Comparison {
  public:
    /// `keys` open what is encrypted.
    Comparison(const std::string& database, const std::string& vfs, std::vector<MasterKey> keys);

    /// "" or the first difference. Logs are read from where the last look ended, since nobody may
    /// change an entry; with `wholly` from the beginning, payloads that nobody refers to included.
    std::string difference(const Reference& reference, bool wholly);

    /// Entries were deleted: their numbers may be given again.
    void look_anew() { entries_seen_ = 0; }

  private:
    SQLite::Statement& query(const char* sql);
    std::string of_instances(const Reference& reference);
    std::string of_entries(const Reference& reference, bool wholly);
    std::string of_events(const Reference& reference);
    std::string of_signals(const Reference& reference);
    std::string of_once_keys(const Reference& reference);
    std::string of_schedules(const Reference& reference);
    std::string of_breakers(const Reference& reference);
    std::string of_slots(const Reference& reference);
    std::string of_rates(const Reference& reference);
    std::string of_debounces(const Reference& reference);
    std::string of_versions(const Reference& reference);
    std::string of_the_rest(const Reference& reference);
    std::string of_data_keys(const Reference& reference);
    std::string of_payloads();

    SQLite::Database database_;
    const std::vector<MasterKey> keys_;
    SqliteStatements statements_;
    Payloads payloads_;
    std::map<const char*, SQLite::Statement> queries_;
    std::int64_t entries_seen_ = 0;  // entries.seq
};

}  // namespace steplog::testing
