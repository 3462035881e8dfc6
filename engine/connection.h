// What the transitions need of a database: a connection prepares statements, a statement takes
// parameters and is a cursor over its rows. Implemented for SQLite, whose errors come through as
// they are; the store that opened the connection knows what they mean. One thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace steplog {

/// A prepared statement. Parameters count from 1, columns from 0.
class PreparedStatement {
  public:
    enum class Type { integer, text, blob };
    enum class Lifetime { copied, borrowed };  // borrowed: the bytes outlive the use

    virtual ~PreparedStatement() = default;

    virtual void bind_integer(int position, std::int64_t value) = 0;
    virtual void bind_text(int position, std::string_view text) = 0;
    virtual void bind_blob(int position, std::string_view bytes, Lifetime lifetime) = 0;
    /// `type`: what it would be, were it there.
    virtual void bind_null(int position, Type type) = 0;

    /// Runs it at the first call. True while there is a row.
    virtual bool next() = 0;
    /// Runs it to its end; what it brings is not wanted. It may run later, but in its turn before
    /// whatever is asked of the connection afterwards; its error is then thrown there.
    virtual void execute() = 0;
    /// Runs it to its end; returns the number of rows changed.
    virtual int execute_counted() = 0;

    // Of the present row. A truth is 1 or 0.
    virtual bool is_null(int column) const = 0;
    virtual std::int64_t integer(int column) const = 0;  // 0 for NULL
    /// Bytes as they are stored, a number in decimal, "" for NULL.
    virtual std::string text(int column) const = 0;

    /// Ends this use, parameters included. False when the database ran out of memory meanwhile and
    /// has told nobody.
    virtual bool reset() noexcept = 0;
};

class Connection {
  public:
    virtual ~Connection() = default;
    /// `sql`: parameters are ? in order, or ?1, ?2, … throughout.
    virtual std::unique_ptr<PreparedStatement> prepare(const char* sql) = 0;
};

}  // namespace steplog
