#include "engine/payloads.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/errors.h"

namespace steplog {
namespace {

// What binds sealed bytes to their place: moved to another row, or under another key, they do not
// open.
std::string payload_context(std::int64_t id, std::int64_t data_key) {
    return fmt::format("payloads|{}|{}", id, data_key);
}
std::string data_key_context(std::int64_t id, std::string_view master_id) {
    return fmt::format("data_keys|{}|{}", id, master_id);
}

std::optional<SecretKey> unwrap(const MasterKey& master, std::int64_t id,
                                const std::string& wrapped) {
    return unseal_key(master.key, data_key_context(id, master.id), wrapped);
}

}  // namespace

const MasterKey* Payloads::master(const std::string& id) const {
    const auto found = std::find_if(keys_.begin(), keys_.end(),
                                    [&](const MasterKey& key) { return key.id == id; });
    return found == keys_.end() ? nullptr : &*found;
}

std::string Payloads::wrap(const SecretKey& data_key, std::int64_t id) const {
    return seal(keys_.front().key, data_key_context(id, keys_.front().id), data_key.bytes());
}

void Payloads::require_keys(const std::string& database) {
    Query wrapped(
        statements_,
        "SELECT wrapping_key_id, id, wrapped_key FROM data_keys WHERE id IN (SELECT min(id) FROM "
        "data_keys WHERE wrapped_key IS NOT NULL GROUP BY wrapping_key_id)");
    while (wrapped.next()) {
        const std::string id = wrapped.text(0);
        const MasterKey* key = master(id);
        if (key == nullptr)
            throw OpenError(fmt::format(
                "{} is encrypted with the key {}, and {}: set STEPLOG_ENCRYPTION_KEY (or "
                "STEPLOG_ENCRYPTION_KEY_FILE) to it, behind a newer one and a comma if need be",
                database, id,
                keys_.empty() ? "no key is set" : "none of those that are set is that one"));
        if (!unwrap(*key, wrapped.integer(1), wrapped.text(2)))
            throw OpenError(
                fmt::format("{} is damaged (a data key does not open with its master key {}): "
                            "restore a backup",
                            database, id));
    }
}

std::optional<std::int64_t> Payloads::data_key_for(std::string_view subject, std::int64_t now_ms) {
    if (keys_.empty()) return std::nullopt;
    {
        Query known(statements_, "SELECT id FROM data_keys WHERE subject=?", subject);
        if (known.next()) return known.integer(0);
    }
    std::int64_t id = 1;
    {
        Query last(statements_, "SELECT max(id) FROM data_keys");
        if (last.next()) id = last.integer(0) + 1;
    }
    Query(statements_,
          "INSERT INTO data_keys(id,subject,wrapped_key,wrapping_key_id,created_at_ms) VALUES "
          "(?,?,?,?,?)",
          id, subject, Blob{wrap(SecretKey::random(), id)}, keys_.front().id, now_ms)
        .run();
    return id;
}

std::optional<std::int64_t> Payloads::data_key_of_instance(std::int64_t seq, std::int64_t now_ms) {
    if (keys_.empty()) return std::nullopt;
    std::string key;
    {
        Query input(statements_,
                    "SELECT p.data_key_id, i.key FROM instances i LEFT JOIN payloads p ON "
                    "p.id=i.input_payload WHERE i.seq=?",
                    seq);
        if (!input.next()) return std::nullopt;
        if (!input.is_null(0)) return input.integer(0);
        key = input.text(1);
    }
    return data_key_for(key, now_ms);
}

std::optional<std::int64_t> Payloads::write(const std::optional<std::string>& body,
                                            std::optional<std::int64_t> data_key) {
    if (!body) return std::nullopt;
    std::string sealed;
    const std::int64_t id = draw_number();
    if (data_key) {
        Query wrapped(statements_, "SELECT wrapped_key, wrapping_key_id FROM data_keys WHERE id=?",
                      *data_key);
        const MasterKey* key = wrapped.next() ? master(wrapped.text(1)) : nullptr;
        const auto opened = key != nullptr && !wrapped.is_null(0)
                                ? unwrap(*key, *data_key, wrapped.text(0))
                                : std::nullopt;
        if (!opened)
            throw StoreError(
                StoreError::Kind::constraint,
                "the data key that this payload belongs to was destroyed or is damaged");
        sealed = seal(*opened, payload_context(id, *data_key), *body);
    }
    const std::string& bytes = data_key ? sealed : *body;
    Query(statements_, "INSERT INTO payloads(id,data_key_id,body) VALUES (?,?,?)", id, data_key,
          BorrowedBlob{bytes})
        .run();
    return id;
}

// A number is part of what is sealed under it, so it is drawn first. Read once: nobody else writes
// meanwhile, and numbers that a transaction took and did not keep are no loss.
std::int64_t Payloads::draw_number() {
    if (last_number_ == 0) {
        Query last(statements_, "SELECT max(id) FROM payloads");
        last_number_ = last.next() ? last.integer(0) : 0;
    }
    if (last_number_ == INT64_MAX)
        throw StoreError(StoreError::Kind::constraint,
                         "a stored payload has the last of all numbers: the database is damaged, "
                         "restore a backup");
    return ++last_number_;
}

Payloads::Body Payloads::read(std::optional<std::int64_t> id) {
    if (!id) return {};
    Query read(statements_, "SELECT body, data_key_id FROM payloads WHERE id=?", *id);
    if (!read.next()) return {.missing = true};
    return open(*id, read.maybe_text(0), read.maybe_integer(1));
}

Payloads::Body Payloads::open(std::int64_t id, std::optional<std::string> body,
                              std::optional<std::int64_t> data_key) {
    if (!body || !data_key) return {.text = std::move(body)};
    Query wrapped(statements_, "SELECT wrapped_key, wrapping_key_id FROM data_keys WHERE id=?",
                  *data_key);
    if (!wrapped.next()) return {.damaged = true};
    if (wrapped.is_null(0)) return {};  // destroyed: as if it were not there
    const MasterKey* key = master(wrapped.text(1));
    if (key == nullptr) return {.sealed = true};
    const auto opened = unwrap(*key, *data_key, wrapped.text(0));
    if (!opened) return {.damaged = true};
    auto text = unseal(*opened, payload_context(id, *data_key), *body);
    const bool damaged = !text;
    return {.text = std::move(text), .damaged = damaged};
}

std::int64_t Payloads::to_rewrap() {
    if (keys_.empty()) return 0;
    Query count(statements_,
                "SELECT count(*) FROM data_keys WHERE wrapped_key IS NOT NULL AND "
                "wrapping_key_id<>?",
                keys_.front().id);
    return count.next() ? count.integer(0) : 0;
}

int Payloads::rewrap(int limit) {
    if (keys_.empty()) return 0;
    struct Wrapped {
        std::int64_t id;
        std::string key, by;
    };
    std::vector<Wrapped> found;
    {
        Query read(
            statements_,
            "SELECT id, wrapped_key, wrapping_key_id FROM data_keys WHERE wrapped_key IS NOT "
            "NULL AND wrapping_key_id<>? LIMIT ?",
            keys_.front().id, limit);
        while (read.next()) found.push_back({read.integer(0), read.text(1), read.text(2)});
    }
    for (const Wrapped& one : found) {
        const MasterKey* by = master(one.by);
        const auto data_key = by ? unwrap(*by, one.id, one.key) : std::nullopt;
        if (!data_key)
            throw StoreError(StoreError::Kind::constraint,
                             fmt::format("data key {} does not open with the master key {}: the "
                                         "database is damaged, restore a backup",
                                         one.id, one.by));
        Query(statements_, "UPDATE data_keys SET wrapped_key=?, wrapping_key_id=? WHERE id=?",
              Blob{wrap(*data_key, one.id)}, keys_.front().id, one.id)
            .run();
    }
    return static_cast<int>(found.size());
}

}  // namespace steplog
