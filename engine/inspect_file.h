// A Steplog database opened strictly for reading: beside a live server, after a crash, or as a
// copy. Changes no byte of it, takes no lock that a writer waits for, and holds no read transaction
// longer than a second unless asked to. Used by the Inspector only; one thread at a time.
#pragma once

#include <SQLiteCpp/SQLiteCpp.h>
#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "engine/errors.h"
#include "engine/sqlite_connection.h"
#include "engine/types.h"

namespace steplog {

/// The file itself: SQLite is behind it.
class ReadOnlyDatabase {
  public:
    static constexpr Ms read_limit = std::chrono::seconds(1);

    /// Opens and checks. Throws InspectError (unreadable): missing, empty, a link, a directory, a
    /// pipe, not SQLite or encrypted, another program's, an older or newer schema, damaged, no
    /// permission. With `vfs` (tests) the file is not looked at before SQLite opens it.
    explicit ReadOnlyDatabase(std::filesystem::path path, std::string vfs = {},
                              Schemas schemas = Schemas::present);

    /// Returns look(Statements&), run in one read transaction: one consistent state. It may run
    /// more than once, when the file changes hands meanwhile. Throws InspectError; too_slow when it
    /// takes longer than `limit` (absent: as long as it takes).
    template <class Look>
    auto read(Look&& look, std::optional<Ms> limit = read_limit) {
        for (int tries = 1;; ++tries) {
            try {
                open_if_closed();
                const Transaction transaction(*this, limit);
                auto result = look(*statements_);
                if (still_stands()) return result;
            } catch (const SQLite::Exception& error) {
                if (still_stands() || tries == tries_max) throw_explained(error);
            }
            close();
            if (tries == tries_max) throw_unsettled();
        }
    }

    /// Writes the whole database, as it is at one moment, into `target`, a missing or empty file,
    /// and takes as long as that takes. False when the file changed hands meanwhile: what was
    /// written is then worth nothing. Throws SQLite::Exception.
    bool copy_into(const std::filesystem::path& target);

    const std::filesystem::path& path() const { return path_; }

  private:
    static constexpr int tries_max = 4;

    // Bounds what runs while it lives; lets the snapshot go at its end.
    class Transaction {
      public:
        Transaction(ReadOnlyDatabase& database, std::optional<Ms> limit);
        ~Transaction();
        Transaction(const Transaction&) = delete;
        Transaction& operator=(const Transaction&) = delete;

      private:
        ReadOnlyDatabase& database_;
    };

    void open_if_closed();
    void close();
    void check_identity();
    bool nobody_writes() const;
    bool still_stands() const;
    [[noreturn]] void throw_explained(const SQLite::Exception& error) const;
    [[noreturn]] void throw_unsettled() const;

    const std::filesystem::path path_;
    const std::string vfs_;
    const Schemas schemas_;
    // Read without SQLite's locks and shared memory: nobody writes, and nothing may be made beside
    // it.
    bool immutable_ = false;
    struct stat as_opened_ {};
    std::optional<std::chrono::steady_clock::time_point> deadline_;
    std::unique_ptr<SQLite::Database> database_;
    std::unique_ptr<SqliteStatements> statements_;
};

}  // namespace steplog
