#include "engine/sqlite_connection.h"

#include <sqlite3.h>

#include <new>

namespace steplog {
namespace {

// SQLite's own functions rather than SQLiteCpp's class around them, which counts a reference for
// each column that is read and copies each text twice.
class SqliteStatement final : public PreparedStatement {
  public:
    SqliteStatement(sqlite3* database, const char* sql) : database_(database) {
        check(
            sqlite3_prepare_v3(database, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement_, nullptr));
    }
    ~SqliteStatement() override { sqlite3_finalize(statement_); }
    SqliteStatement(const SqliteStatement&) = delete;
    SqliteStatement& operator=(const SqliteStatement&) = delete;

    void bind_integer(int position, std::int64_t value) override {
        check(sqlite3_bind_int64(statement_, position, value));
    }
    void bind_text(int position, std::string_view text) override {
        check(sqlite3_bind_text64(statement_, position, data_of(text), text.size(),
                                  SQLITE_TRANSIENT, SQLITE_UTF8));
    }
    void bind_blob(int position, std::string_view bytes, Lifetime lifetime) override {
        check(
            sqlite3_bind_blob64(statement_, position, data_of(bytes), bytes.size(),
                                lifetime == Lifetime::borrowed ? SQLITE_STATIC : SQLITE_TRANSIENT));
    }
    void bind_null(int position, Type) override { check(sqlite3_bind_null(statement_, position)); }

    bool next() override {
        if (done_) return false;
        const int code = sqlite3_step(statement_);
        has_row_ = code == SQLITE_ROW;
        done_ = code == SQLITE_DONE;
        if (!has_row_ && !done_) throw SQLite::Exception(database_, code);
        return has_row_;
    }
    void execute() override {
        if (next())
            throw SQLite::Exception("a statement that was only to be run has brought a row",
                                    SQLITE_MISUSE);
    }
    int execute_counted() override {
        execute();
        return sqlite3_changes(database_);
    }

    bool is_null(int column) const override {
        require_row();
        return sqlite3_column_type(statement_, column) == SQLITE_NULL;
    }
    std::int64_t integer(int column) const override {
        require_row();
        return sqlite3_column_int64(statement_, column);
    }
    std::string text(int column) const override {
        require_row();
        // Asked for first, the size makes a text of a number.
        const int size = sqlite3_column_bytes(statement_, column);
        const void* const bytes = sqlite3_column_blob(statement_, column);
        if (bytes != nullptr)
            return {static_cast<const char*>(bytes), static_cast<std::size_t>(size)};
        if (sqlite3_errcode(database_) == SQLITE_NOMEM) throw std::bad_alloc();
        return {};
    }

    bool reset() noexcept override {
        has_row_ = done_ = false;
        const bool memory = sqlite3_reset(statement_) != SQLITE_NOMEM;
        sqlite3_clear_bindings(statement_);
        return memory;
    }

  private:
    // An empty text is not NULL, which a null pointer would be.
    static const char* data_of(std::string_view text) {
        return text.data() != nullptr ? text.data() : "";
    }
    void check(int code) const {
        if (code != SQLITE_OK) throw SQLite::Exception(database_, code);
    }
    void require_row() const {
        if (!has_row_) throw SQLite::Exception("there is no row to read", SQLITE_MISUSE);
    }

    sqlite3* const database_;
    sqlite3_stmt* statement_ = nullptr;
    bool has_row_ = false;
    bool done_ = false;
};

}  // namespace

std::unique_ptr<PreparedStatement> SqliteConnection::prepare(const char* sql) {
    return std::make_unique<SqliteStatement>(database_.getHandle(), sql);
}

}  // namespace steplog
