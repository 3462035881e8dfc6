// Prepared statements, kept for the life of a connection and used by one thread at a time. A Query
// is one use of one: it binds in order and resets itself.
#pragma once

#include <SQLiteCpp/SQLiteCpp.h>
#include <sqlite3.h>

#include <exception>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "engine/digest.h"

namespace steplog {

class Statements {
  public:
    explicit Statements(SQLite::Database& database) : database_(database) {}

    /// `sql` must be a literal: it is known by its address.
    SQLite::Statement& prepared(const char* sql) {
        const auto found = statements_.find(sql);
        if (found != statements_.end()) return found->second;
        return statements_.emplace(sql, SQLite::Statement(database_, sql)).first->second;
    }
    SQLite::Database& database() { return database_; }

    /// A statement met a want of memory that nobody was told of: reading a column does not say so.
    /// SQLite has then rolled the transaction back, and what follows would be committed one by one.
    void lose_memory() { memory_lost_ = true; }
    /// So nothing follows. Throws std::bad_alloc, once.
    void require_memory() {
        if (std::exchange(memory_lost_, false)) throw std::bad_alloc();
    }

  private:
    SQLite::Database& database_;
    bool memory_lost_ = false;
    std::unordered_map<const char*, SQLite::Statement> statements_;
};

/// Text to be stored as bytes.
struct Blob {
    std::string_view bytes;
};

class Query {
  public:
    template <class... Values>
    Query(Statements& statements, const char* sql, const Values&... values)
        : statements_(statements), statement_(prepared(statements, sql)) {
        int position = 0;
        (bind(++position, values), ...);
    }
    ~Query() {
        const bool told = std::uncaught_exceptions() > unwinding_;
        if (statement_.tryReset() == SQLITE_NOMEM && !told) statements_.lose_memory();
        statement_.clearBindings();
    }
    Query(const Query&) = delete;
    Query& operator=(const Query&) = delete;

    /// True while there is a row.
    bool next() { return statement_.executeStep(); }
    /// Runs to the end; returns the number of rows changed.
    int run() { return statement_.exec(); }

    std::int64_t integer(int column) const { return statement_.getColumn(column).getInt64(); }
    bool is_null(int column) const { return statement_.getColumn(column).isNull(); }
    std::optional<std::int64_t> maybe_integer(int column) const {
        if (is_null(column)) return std::nullopt;
        return integer(column);
    }
    /// Throws std::bad_alloc where a number cannot be converted for want of memory.
    std::string text(int column) const {
        std::string value = statement_.getColumn(column).getString();
        if (value.empty() && statement_.getErrorCode() == SQLITE_NOMEM) throw std::bad_alloc();
        return value;
    }
    std::optional<std::string> maybe_text(int column) const {
        if (is_null(column)) return std::nullopt;
        return text(column);
    }
    /// All zero when the column does not hold 32 bytes: it will then not verify.
    Hash hash(int column) const {
        Hash value{};
        const std::string bytes = text(column);
        if (bytes.size() == value.size()) std::copy(bytes.begin(), bytes.end(), value.begin());
        return value;
    }

  private:
    static SQLite::Statement& prepared(Statements& statements, const char* sql) {
        statements.require_memory();
        return statements.prepared(sql);
    }
    void bind(int position, std::int64_t value) { statement_.bind(position, value); }
    void bind(int position, int value) { statement_.bind(position, value); }
    void bind(int position, bool value) { statement_.bind(position, value ? 1 : 0); }
    void bind(int position, std::string_view value) {
        statement_.bind(position, std::string(value));
    }
    void bind(int position, const Blob& value) {
        statement_.bind(position, value.bytes.data(), static_cast<int>(value.bytes.size()));
    }
    void bind(int position, const char* value) { statement_.bind(position, value); }
    void bind(int position, const Hash& value) {
        statement_.bind(position, value.data(), static_cast<int>(value.size()));
    }
    void bind(int position, std::nullopt_t) { statement_.bind(position); }
    template <class T>
    void bind(int position, const std::optional<T>& value) {
        if (value.has_value())
            bind(position, value.value());
        else
            statement_.bind(position);
    }

    Statements& statements_;
    SQLite::Statement& statement_;
    const int unwinding_ = std::uncaught_exceptions();
};

}  // namespace steplog
