#include "tools/bench/bare_loop.h"

#include <fmt/format.h>

#include <stdexcept>

#include "migrations/migrations.h"
#include "tools/bench/measure.h"

namespace steplog::bench {

BareLoop::BareLoop(const std::filesystem::path& file, int steps, std::size_t payload)
    : steps_(steps), body_(payload_of(payload, 1)), hash_(32, '\x5a') {
    if (sqlite3_open_v2(file.c_str(), &database_,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                        nullptr) != SQLITE_OK)
        throw std::runtime_error("the bare loop cannot open its database");
    for (const char* pragma :
         {"page_size=4096", "auto_vacuum=INCREMENTAL", "journal_mode=WAL", "synchronous=FULL",
          "foreign_keys=ON", "wal_autocheckpoint=0", "journal_size_limit=16777216",
          "temp_store=MEMORY", "cache_size=-16000", "cell_size_check=ON", "secure_delete=ON"})
        exec((std::string("PRAGMA ") + pragma).c_str());
    for (const Migration& migration : sqlite_migrations()) exec(std::string(migration.sql).c_str());
    sqlite3_wal_hook(
        database_,
        [](void* frames, sqlite3*, const char*, int count) {
            *static_cast<int*>(frames) = count;
            return SQLITE_OK;
        },
        &wal_frames_);
    payload_ = prepare("INSERT INTO payloads(body) VALUES (?)");
    instance_ = prepare(
        "INSERT INTO instances(id,workflow,version,state,due_at_ms,owner,epoch,log_hash,"
        "input_payload,input_hash,created_at_ms,updated_at_ms) "
        "VALUES (?1,'bench',1,'running',?2,1,1,?3,?4,?3,?5,?5)");
    event_ = prepare(
        "INSERT INTO events(source,id,type,disposition,instance,payload,body_hash,received_at_ms) "
        "VALUES ('bench',?,'bench','routed',?,?,?,?)");
    entry_ = prepare(
        "INSERT INTO entries(instance,n,step,kind,attempt,generation,at_ms,data,payload,"
        "payload_hash,hash) VALUES (?,?,?,?,1,0,?,?,?,?,?)");
    update_ = prepare(
        "UPDATE instances SET step=?,attempt=1,log_length=?,log_hash=?,updated_at_ms=? WHERE "
        "seq=?");
    finish_ = prepare(
        "UPDATE instances SET state='completed',due_at_ms=NULL,owner=NULL,output_payload=?,"
        "finished_at_ms=?,updated_at_ms=?2 WHERE seq=?3");
    begin_ = prepare("BEGIN IMMEDIATE");
    commit_ = prepare("COMMIT");
}

BareLoop::~BareLoop() {
    for (sqlite3_stmt* statement : statements_) sqlite3_finalize(statement);
    sqlite3_close(database_);
}

sqlite3_stmt* BareLoop::prepare(const char* sql) {
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v3(database_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr) !=
        SQLITE_OK)
        throw std::runtime_error(fmt::format("the bare loop: {}", sqlite3_errmsg(database_)));
    statements_.push_back(statement);
    return statement;
}

void BareLoop::exec(const char* sql) {
    if (sqlite3_exec(database_, sql, nullptr, nullptr, nullptr) != SQLITE_OK)
        throw std::runtime_error(fmt::format("the bare loop: {}", sqlite3_errmsg(database_)));
}

void BareLoop::step(sqlite3_stmt* statement) {
    const int code = sqlite3_step(statement);
    if (code != SQLITE_DONE && code != SQLITE_ROW)
        throw std::runtime_error(fmt::format("the bare loop: {}", sqlite3_errmsg(database_)));
    sqlite3_reset(statement);
}

sqlite3_int64 BareLoop::insert_payload(const std::string& body) {
    sqlite3_bind_blob(payload_, 1, body.data(), static_cast<int>(body.size()), SQLITE_STATIC);
    step(payload_);
    return sqlite3_last_insert_rowid(database_);
}

sqlite3_int64 BareLoop::insert_accepted(const std::string& body) {
    const std::string event = fmt::format("evt_{:024x}", ++number_ * 0x9e3779b97f4a7c15ll);
    const std::string id = "bench/" + event;
    const sqlite3_int64 payload = insert_payload(body);
    sqlite3_bind_text(instance_, 1, id.data(), static_cast<int>(id.size()), SQLITE_STATIC);
    sqlite3_bind_int64(instance_, 2, number_);
    sqlite3_bind_blob(instance_, 3, hash_.data(), 32, SQLITE_STATIC);
    sqlite3_bind_int64(instance_, 4, payload);
    sqlite3_bind_int64(instance_, 5, number_);
    step(instance_);
    const sqlite3_int64 instance = sqlite3_last_insert_rowid(database_);
    sqlite3_bind_text(event_, 1, event.data(), static_cast<int>(event.size()), SQLITE_STATIC);
    sqlite3_bind_int64(event_, 2, instance);
    sqlite3_bind_int64(event_, 3, payload);
    sqlite3_bind_blob(event_, 4, hash_.data(), 32, SQLITE_STATIC);
    sqlite3_bind_int64(event_, 5, number_);
    step(event_);
    return instance;
}

void BareLoop::insert_entry(sqlite3_int64 instance, int n, const char* kind, const char* step_name,
                            const char* data, bool with_payload) {
    sqlite3_bind_int64(entry_, 1, instance);
    sqlite3_bind_int(entry_, 2, n);
    sqlite3_bind_text(entry_, 3, step_name, -1, SQLITE_STATIC);
    sqlite3_bind_text(entry_, 4, kind, -1, SQLITE_STATIC);
    sqlite3_bind_int64(entry_, 5, number_);
    sqlite3_bind_text(entry_, 6, data, -1, SQLITE_STATIC);
    if (with_payload) {
        sqlite3_bind_int64(entry_, 7, insert_payload("null"));
        sqlite3_bind_blob(entry_, 8, hash_.data(), 32, SQLITE_STATIC);
    } else {
        sqlite3_bind_null(entry_, 7);
        sqlite3_bind_null(entry_, 8);
    }
    sqlite3_bind_blob(entry_, 9, hash_.data(), 32, SQLITE_STATIC);
    step(entry_);
}

void BareLoop::update(sqlite3_int64 instance, int n) {
    sqlite3_bind_text(update_, 1, "step", -1, SQLITE_STATIC);
    sqlite3_bind_int(update_, 2, n);
    sqlite3_bind_blob(update_, 3, hash_.data(), 32, SQLITE_STATIC);
    sqlite3_bind_int64(update_, 4, number_);
    sqlite3_bind_int64(update_, 5, instance);
    step(update_);
}

void BareLoop::finish(sqlite3_int64 instance) {
    sqlite3_bind_int64(finish_, 1, insert_payload("null"));
    sqlite3_bind_int64(finish_, 2, number_);
    sqlite3_bind_int64(finish_, 3, instance);
    step(finish_);
}

void BareLoop::commit() {
    step(commit_);
    checkpoint_if_due();
}

void BareLoop::checkpoint_if_due() {
    if (wal_frames_ < wal_frames_seen_) checkpoint_at_ = 1000;
    wal_frames_seen_ = wal_frames_;
    if (wal_frames_ < checkpoint_at_) return;
    checkpoint_at_ = wal_frames_ + 1000;
    sqlite3_wal_checkpoint_v2(database_, "main", SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
}

void BareLoop::run_batch(int batch) {
    std::vector<sqlite3_int64> instances;
    const std::string intent =
        R"({"idempotency_key":"steplog:bench/evt_000000000000000000000000:step_1"})";
    step(begin_);
    for (int i = 0; i < batch; ++i) instances.push_back(insert_accepted(body_));
    commit();
    for (int stage = 1; stage <= steps_ + 1; ++stage) {
        const std::string before = fmt::format("step_{}", stage - 1);
        const std::string name = fmt::format("step_{}", stage);
        step(begin_);
        for (const sqlite3_int64 instance : instances) {
            int n = 2 * stage - 2;
            if (stage > 1) insert_entry(instance, n, "completed", before.c_str(), "{}", true);
            if (stage <= steps_)
                insert_entry(instance, ++n, "started", name.c_str(), intent.c_str(), false);
            update(instance, n);
            if (stage > steps_) finish(instance);
        }
        commit();
    }
}

void BareLoop::accept(const std::vector<std::string>& bodies) {
    step(begin_);
    for (const std::string& body : bodies) insert_accepted(body);
    commit();
}

}  // namespace steplog::bench
