// Prepared statements, kept for the life of a connection and used by one thread at a time. A Query
// is one use of one: it binds in order and resets itself. What runs on more than one kind of
// database is written in the SQL that both understand.
#pragma once

#include <algorithm>
#include <exception>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>

#include "engine/connection.h"
#include "engine/digest.h"

namespace steplog {

class Statements {
  public:
    explicit Statements(Connection& connection) : connection_(connection) {}
    Statements(const Statements&) = delete;
    Statements& operator=(const Statements&) = delete;

    /// `sql` must be a literal: it is known by its address.
    PreparedStatement& prepared(const char* sql) {
        const auto found = statements_.find(sql);
        if (found != statements_.end()) return *found->second;
        return *statements_.emplace(sql, connection_.prepare(sql)).first->second;
    }

    /// A statement met a want of memory that nobody was told of: reading a column does not say so.
    /// The database has then rolled the transaction back, and what follows would be committed one
    /// by one.
    void lose_memory() { memory_lost_ = true; }
    /// So nothing follows. Throws std::bad_alloc, once.
    void require_memory() {
        if (std::exchange(memory_lost_, false)) throw std::bad_alloc();
    }

  private:
    Connection& connection_;
    bool memory_lost_ = false;
    std::unordered_map<const char*, std::unique_ptr<PreparedStatement>> statements_;
};

/// Text to be stored as bytes.
struct Blob {
    std::string_view bytes;
};

/// The same where the bytes outlive the query.
struct BorrowedBlob {
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
        if (!statement_.reset() && !told) statements_.lose_memory();
    }
    Query(const Query&) = delete;
    Query& operator=(const Query&) = delete;

    /// True while there is a row.
    bool next() { return statement_.next(); }
    /// Runs to the end: at once, or in its turn before anything else is asked of the connection.
    void run() { statement_.execute(); }
    /// Runs to the end; returns the number of rows changed.
    int run_counted() { return statement_.execute_counted(); }

    std::int64_t integer(int column) const { return statement_.integer(column); }
    bool is_null(int column) const { return statement_.is_null(column); }
    std::optional<std::int64_t> maybe_integer(int column) const {
        if (is_null(column)) return std::nullopt;
        return integer(column);
    }
    /// Throws std::bad_alloc where a number cannot be converted for want of memory.
    std::string text(int column) const { return statement_.text(column); }
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
    using Type = PreparedStatement::Type;
    using Lifetime = PreparedStatement::Lifetime;

    static PreparedStatement& prepared(Statements& statements, const char* sql) {
        statements.require_memory();
        return statements.prepared(sql);
    }
    void bind(int position, std::int64_t value) { statement_.bind_integer(position, value); }
    void bind(int position, int value) { statement_.bind_integer(position, value); }
    void bind(int position, bool value) { statement_.bind_integer(position, value ? 1 : 0); }
    void bind(int position, std::string_view value) { statement_.bind_text(position, value); }
    void bind(int position, const char* value) { statement_.bind_text(position, value); }
    void bind(int position, const Blob& value) {
        statement_.bind_blob(position, value.bytes, Lifetime::copied);
    }
    void bind(int position, const BorrowedBlob& value) {
        statement_.bind_blob(position, value.bytes, Lifetime::borrowed);
    }
    void bind(int position, const Hash& value) {
        const auto* const bytes = reinterpret_cast<const char*>(value.data());
        statement_.bind_blob(position, {bytes, value.size()}, Lifetime::copied);
    }
    template <class T>
    void bind(int position, const std::optional<T>& value) {
        if (value.has_value())
            bind(position, value.value());
        else
            statement_.bind_null(position, type_of<T>());
    }
    template <class T>
    static constexpr Type type_of() {
        if constexpr (std::is_integral_v<T>) return Type::integer;
        if constexpr (std::is_convertible_v<T, std::string_view>) return Type::text;
        return Type::blob;
    }

    Statements& statements_;
    PreparedStatement& statement_;
    const int unwinding_ = std::uncaught_exceptions();
};

}  // namespace steplog
