// Reads a disk's image with plain SQL, on a disk of its own so that looking changes nothing: what
// is there, and whether it is whole. Independent of the store's own reading. One thread.
#pragma once

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <sqlite3.h>

#include <cstring>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/digest.h"
#include "engine/wal_rewrite.h"
#include "tests/support/crash_vfs.h"

namespace steplog::testing {

struct Survey {
    std::set<std::string> events;
    std::map<std::string, std::string> instances;                          // id -> state
    std::map<std::pair<std::string, std::string>, std::set<int>> started;  // attempts of a step
    std::set<std::pair<std::string, std::string>> completed;
    std::vector<std::string> damage;
};

class Surveyor {
  public:
    Surveyor() : vfs_("crash-survey") {}

    /// With `wholly`, SQLite's own check, the chains and the model's rules too.
    Survey look(const CrashVfs::Image& image, const std::string& database, bool wholly) {
        vfs_.restore(image);
        Survey survey;
        try {
            // What a power loss left half written there is not what is read at the next start.
            finish_wal_rewrite(database, vfs_.name());
            SQLite::Database db(database, SQLITE_OPEN_READONLY, 0, vfs_.name());
            read(db, survey);
            if (wholly) check(db, survey);
        } catch (const std::runtime_error& error) {
            survey.damage.push_back(fmt::format("cannot be read: {}", error.what()));
        }
        return survey;
    }

  private:
    static void read(SQLite::Database& db, Survey& survey) {
        SQLite::Statement events(db, "SELECT id FROM events");
        while (events.executeStep()) survey.events.insert(events.getColumn(0).getString());
        SQLite::Statement instances(db, "SELECT id, state FROM instances");
        while (instances.executeStep())
            survey.instances[instances.getColumn(0).getString()] =
                instances.getColumn(1).getString();
        SQLite::Statement entries(db,
                                  "SELECT i.id, e.step, e.kind, e.attempt FROM entries e "
                                  "JOIN instances i ON i.seq=e.instance "
                                  "WHERE e.kind IN ('started','completed')");
        while (entries.executeStep()) {
            const std::pair step(entries.getColumn(0).getString(),
                                 entries.getColumn(1).getString());
            if (entries.getColumn(2).getString() == "completed")
                survey.completed.insert(step);
            else
                survey.started[step].insert(entries.getColumn(3).getInt());
        }
    }

    // Every query counts what must not be there.
    static void check(SQLite::Database& db, Survey& survey) {
        static constexpr std::pair<const char*, const char*> rules[] = {
            {"routed events without their instance",
             "SELECT count(*) FROM events e LEFT JOIN instances i ON i.seq=e.instance "
             "WHERE e.disposition='routed' AND i.seq IS NULL"},
            {"events stored twice",
             "SELECT count(*) FROM (SELECT 1 FROM events GROUP BY source, id HAVING count(*)>1)"},
            {"instances stored twice",
             "SELECT count(*) FROM (SELECT 1 FROM instances GROUP BY id HAVING count(*)>1)"},
            {"logs with gaps",
             "SELECT count(*) FROM instances i WHERE i.log_length<>(SELECT count(*) FROM entries "
             "WHERE instance=i.seq) "
             "OR i.log_length<>(SELECT coalesce(max(n),0) FROM entries WHERE instance=i.seq)"},
            {"keys with two holders",
             "SELECT count(*) FROM (SELECT 1 FROM instances WHERE holds_key GROUP BY key, "
             "key_place HAVING count(*)>1)"},
            {"unfinished instances that nothing will continue",
             "SELECT count(*) FROM instances WHERE state IN ('pending','running','sleeping') AND "
             "due_at_ms IS NULL AND waits_for IS NOT 'pause'"},
            {"steps completed without a start",
             "SELECT count(*) FROM entries e WHERE kind='completed' AND NOT EXISTS (SELECT 1 FROM "
             "entries s "
             "WHERE s.instance=e.instance AND s.step=e.step AND s.kind='started' AND s.n<e.n) "
             "AND e.data NOT LIKE '%adopted%' AND e.data NOT LIKE '%superseded%'"},
            {"payloads that an entry names and nobody has",
             "SELECT count(*) FROM entries e LEFT JOIN payloads p ON p.id=e.payload "
             "WHERE e.payload IS NOT NULL AND p.body IS NULL AND e.data NOT LIKE "
             "'{\"forgotten\":%'"}};
        const auto integrity = db.execAndGet("PRAGMA integrity_check").getString();
        if (integrity != "ok") survey.damage.push_back("integrity_check: " + integrity);
        for (const auto& [name, sql] : rules)
            if (const auto found = db.execAndGet(sql).getInt64())
                survey.damage.push_back(fmt::format("{} {}", found, name));
        check_chains(db, survey);
    }

    static Hash hash(const SQLite::Column& column) {
        Hash hash{};
        if (column.getBytes() == static_cast<int>(hash.size()))
            std::memcpy(hash.data(), column.getBlob(), hash.size());
        return hash;
    }

    static void check_chains(SQLite::Database& db, Survey& survey) {
        SQLite::Statement key(db, "SELECT value FROM meta WHERE name='payload_hash_key'");
        const Hash secret = key.executeStep() ? hash(key.getColumn(0)) : Hash{};
        SQLite::Statement instances(
            db, "SELECT seq, id, workflow, input_hash, log_hash FROM instances");
        SQLite::Statement entries(
            db,
            "SELECT n, step, kind, attempt, generation, at_ms, data, payload_hash, hash "
            "FROM entries WHERE instance=? ORDER BY n");
        while (instances.executeStep()) {
            const auto id = instances.getColumn(1).getString();
            Hash head = genesis_hash(secret, id, instances.getColumn(2).getString(),
                                     hash(instances.getColumn(3)));
            entries.tryReset();
            entries.bind(1, instances.getColumn(0).getInt64());
            bool whole = true;
            while (entries.executeStep()) {
                std::optional<Hash> payload_hash;
                if (!entries.getColumn(7).isNull()) payload_hash = hash(entries.getColumn(7));
                const Hash content = content_hash(secret, entries.getColumn(1).getString(),
                                                  entries.getColumn(6).getString());
                head = chain_hash(head, entries.getColumn(0).getInt64(), content,
                                  entries.getColumn(2).getString(), entries.getColumn(3).getInt(),
                                  entries.getColumn(4).getInt(), entries.getColumn(5).getInt64(),
                                  payload_hash);
                whole = whole && head == hash(entries.getColumn(8));
            }
            if (!whole || head != hash(instances.getColumn(4)))
                survey.damage.push_back("the chain of " + id + " is broken");
        }
    }

    CrashVfs vfs_;
};

}  // namespace steplog::testing
