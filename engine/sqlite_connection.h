// Statements on an SQLite database. Used by the SQLite store and by whoever reads its files.
#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include "engine/connection.h"
#include "engine/statements.h"

namespace steplog {

/// Errors are thrown as SQLite::Exception.
class SqliteConnection final : public Connection {
  public:
    /// `database` outlives it and its statements.
    explicit SqliteConnection(SQLite::Database& database) : database_(database) {}
    std::unique_ptr<PreparedStatement> prepare(const char* sql) override;

  private:
    SQLite::Database& database_;
};

// The base's statements end after the connection, which holds nothing that they need.
class SqliteStatements final : public Statements {
  public:
    explicit SqliteStatements(SQLite::Database& database)
        : Statements(connection_), connection_(database), database_(database) {}
    SQLite::Database& database() { return database_; }

  private:
    SqliteConnection connection_;
    SQLite::Database& database_;
};

}  // namespace steplog
