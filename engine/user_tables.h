// The tables that a program keeps beside ours, in the same file: "app_…". Makes its changes inside
// the store's transaction and keeps them from everything else. Used by the SQLite store only, on
// the writer; belongs to one connection for life.
#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include <chrono>

#include "engine/store.h"

namespace steplog {

class UserTables {
  public:
    /// A change may take so long; all other writes wait for it.
    UserTables(SQLite::Database& database, Ms change_limit);
    ~UserTables();
    UserTables(const UserTables&) = delete;
    UserTables& operator=(const UserTables&) = delete;

    /// Runs the change in the savepoint of its item. Throws ChangeThrew (to be rolled back),
    /// TransactionEnded when the change took the whole transaction with it, and SQLite::Exception
    /// when the store itself is in trouble: a full disk, an I/O error.
    std::string make(const Change& change);

  private:
    // SQLite's authorizer: asked about all that a statement does, when it is prepared.
    static int judge(void* self, int action, const char* first, const char* second,
                     const char* database, const char* trigger);
    static int is_too_late(void* self);
    bool allows(int action, const std::string& first, const std::string& second);
    std::string run(const Change& change);
    void refuse_an_ended_transaction() const;
    [[noreturn]] void explain(const std::exception_ptr& thrown) const;
    [[noreturn]] void throw_too_long() const;
    void refuse_foreign_structure();
    std::int64_t count_ours();

    SQLite::Database& database_;
    const Ms limit_;
    std::int64_t ours_ = 0;  // tables, indexes, triggers and views that are the store's own
    bool inside_ = false;    // a change is being made: what is prepared now is the program's
    bool restructured_ = false;
    std::string denied_;
    std::chrono::steady_clock::time_point deadline_;
};

}  // namespace steplog
