// Taking over a file, sealing what a migration left open, and noticing that it is a restored
// backup: the first transaction of every owner. What unfinished instances may have done in the
// history that was lost is written into their logs before any of them runs.
#include <unistd.h>

#include <algorithm>

#include "engine/transitions.h"

namespace steplog {
namespace {

std::optional<std::string> meta_text(Statements& statements, const char* name) {
    Query read(statements, "SELECT value FROM meta WHERE name=?", name);
    if (!read.next()) return std::nullopt;
    return read.text(0);
}

// A record that cannot be read is no reason to run what may have been done already.
OpenError unreadable() {
    return OpenError(
        "the database's record of having been restored cannot be read: restore the backup again");
}

}  // namespace

void Transitions::take_ownership(const std::string& program) {
    {
        Query insert(statements_,
                     "INSERT INTO owners(started_at_ms, program, pid) VALUES (?,?,?) RETURNING id",
                     now(), program, static_cast<std::int64_t>(getpid()));
        while (insert.next()) owner_ = insert.integer(0);
    }
    // Whatever ran under the last owner is due at once; the claim that takes it sees that its
    // holder died.
    Query(statements_,
          "UPDATE instances SET due_at_ms=? WHERE state='running' AND due_at_ms IS NOT NULL", now())
        .run();
    Query(statements_, "DELETE FROM slots").run();
    any_slot_ = !parked_for(Limit::Kind::slot).empty();
    any_rate_ =
        Query(statements_, "SELECT 1 FROM rates").next() || !parked_for(Limit::Kind::rate).empty();
    if (once_records_are_unsealed(statements_))
        seal_unsealed_once_records(statements_, payloads_, payload_hash_key_);
    if (const auto stored = meta_text(statements_, "restores")) {
        const auto restores = parse_restores(*stored);
        if (!restores) throw unreadable();
        restores_ = *restores;
    }
    if (const auto stored = meta_text(statements_, "backup")) {
        const auto mark = parse_backup_mark(*stored);
        if (!mark) throw unreadable();
        notice_restore(*mark, program);
    }
}

void Transitions::notice_restore(const BackupMark& mark, const std::string& program) {
    // A clock that was set back must not make the time that was lost negative.
    const Restore restore{mark.id, mark.taken_at_ms, std::max(now(), mark.taken_at_ms)};
    restores_.push_back(restore);
    std::vector<Row> unfinished;
    {
        // Nothing is appended to a log that does not verify: it makes no call anyway.
        Query find(statements_,
                   "SELECT seq, id, key, holds_key, step, log_length, log_hash FROM instances "
                   "WHERE finished_at_ms IS NULL AND error_code IS DISTINCT FROM 'log_damaged' "
                   "ORDER BY seq");
        while (find.next())
            unfinished.push_back({find.integer(0), find.text(1), find.text(2), find.integer(3) != 0,
                                  find.text(4), find.integer(5), find.hash(6)});
    }
    for (Row& row : unfinished) record_restore(row, restore.taken_at_ms);
    Query(statements_,
          "INSERT INTO meta(name,value) VALUES ('restores',?) ON CONFLICT(name) DO UPDATE SET "
          "value=excluded.value",
          to_text(restores_))
        .run();
    Query(statements_, "DELETE FROM meta WHERE name='backup'").run();
    audit("program:" + program, "restore", "the database",
          {{"backup", mark.id},
           {"taken_at_ms", mark.taken_at_ms},
           {"unfinished", unfinished.size()}});
    restored_ = Restored{restore, static_cast<std::int64_t>(unfinished.size())};
}

// Into the log of an instance whose steps may have run already.
Entry Transitions::record_restore(Row& row, std::int64_t lost_since_ms) {
    Entry written = append(row, restored_entry(lost_since_ms, restores_.back()));
    Query(statements_, "UPDATE instances SET log_length=?, log_hash=? WHERE seq=?", row.log_length,
          row.log_hash, row.seq)
        .run();
    return written;
}

}  // namespace steplog
