// The schema's history, embedded at build time from migrations/<store>/*.sql. Used by the store,
// which applies what a database has not seen yet, one transaction a migration.
#pragma once

#include <string_view>
#include <vector>

namespace steplog {

struct Migration {
    int number;             // 1, 2, …: what PRAGMA user_version says once it is applied
    std::string_view name;  // the file's name without its ending
    std::string_view sql;   // several statements, run in one transaction
};

/// All migrations of the SQLite store, in order, without gaps.
const std::vector<Migration>& sqlite_migrations();

}  // namespace steplog
