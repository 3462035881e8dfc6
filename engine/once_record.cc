#include "engine/once_record.h"

#include <vector>

namespace steplog {
namespace {

constexpr int covered = 12;  // columns; the hash over them comes behind
constexpr const char* unsealed = "once_keys_unsealed";

const std::string& select_record() {
    static const std::string sql =
        std::string("SELECT ") + once_record_columns + "FROM once_keys WHERE key=?";
    return sql;
}

Hash hash_of_row(const Query& query, const Hash& secret) {
    std::string said;
    for (int column = 0; column < covered; ++column) {
        const auto text = query.maybe_text(column);
        // Lengths first, so that no two rows say the same; absent is not empty.
        said += text ? std::to_string(text->size()) + ":" + *text : "-";
    }
    return keyed_hash(secret, said);
}

std::optional<Hash> maybe_hash(const Query& query, int column) {
    if (query.is_null(column)) return std::nullopt;
    return query.hash(column);
}

// False when what it names cannot be read.
bool hash_payload(Statements& statements, Payloads& payloads, const Hash& secret,
                  const std::string& key, const std::optional<std::int64_t>& payload,
                  const char* sql) {
    if (!payload) return true;
    const Payloads::Body body = payloads.read(payload);
    if (body.damaged || body.sealed || body.missing) return false;
    if (body.text) Query(statements, sql, keyed_hash(secret, *body.text), key).run();
    return true;
}

}  // namespace

OnceRecord read_once_record(const Query& query, const Hash& secret) {
    return {.key = query.text(0),
            .state = query.text(1),
            .instance = query.maybe_integer(2),
            .instance_id = query.text(3),
            .generation = query.integer(5),
            .idempotency_key = query.text(6),
            .first_attempt_at_ms = query.integer(7),
            .request = query.maybe_integer(8),
            .result = query.maybe_integer(9),
            .request_hash = maybe_hash(query, 10),
            .result_hash = maybe_hash(query, 11),
            .whole = hash_of_row(query, secret) == query.hash(covered)};
}

Payloads::Body read_once_payload(Payloads& payloads, const std::optional<std::int64_t>& payload,
                                 const std::optional<Hash>& hash, const Hash& secret) {
    if (!payload) return {};
    Payloads::Body body = payloads.read(payload);
    if (body.missing || (body.text && (!hash || keyed_hash(secret, *body.text) != *hash)))
        return {.damaged = true};
    return body;
}

bool once_record_is_whole(Statements& statements, const Hash& secret, const std::string& key) {
    Query read(statements, select_record().c_str(), key);
    return !read.next() || read_once_record(read, secret).whole;
}

void seal_once_record(Statements& statements, const Hash& secret, const std::string& key) {
    Hash hash{};
    {
        Query read(statements, select_record().c_str(), key);
        if (!read.next()) return;
        hash = hash_of_row(read, secret);
    }
    Query(statements, "UPDATE once_keys SET hash=? WHERE key=?", hash, key).run();
}

bool once_records_are_unsealed(Statements& statements) {
    return Query(statements, "SELECT 1 FROM meta WHERE name=?", unsealed).next();
}

void seal_unsealed_once_records(Statements& statements, Payloads& payloads, const Hash& secret) {
    struct Remembered {
        std::string key;
        std::optional<std::int64_t> request, result;
    };
    std::vector<Remembered> rows;
    {
        Query read(statements, "SELECT key, request, result FROM once_keys");
        while (read.next())
            rows.push_back({read.text(0), read.maybe_integer(1), read.maybe_integer(2)});
    }
    for (const Remembered& row : rows)
        if (hash_payload(statements, payloads, secret, row.key, row.request,
                         "UPDATE once_keys SET request_hash=? WHERE key=?") &&
            hash_payload(statements, payloads, secret, row.key, row.result,
                         "UPDATE once_keys SET result_hash=? WHERE key=?"))
            seal_once_record(statements, secret, row.key);
    Query(statements, "DELETE FROM meta WHERE name=?", unsealed).run();
}

}  // namespace steplog
