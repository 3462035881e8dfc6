// A database with something of everything under way, to be damaged byte by byte: what `check` says
// of it, whether the store opens it, and what the engine then calls. Every call is written down
// with all that went into it, so that one with altered input is recognized whatever came before.
// Used by the damage tests and the fuzzer. One thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/sqlite_store.h"
#include "tests/support/manual_clock.h"
#include "tests/support/temporary_directory.h"

namespace steplog::testing {

/// A database as it lies on the disk.
struct DatabaseFiles {
    std::string database;
    std::string wal;  // "": there is none
};

/// What became of a damaged database.
struct DamageVerdict {
    std::set<std::string> found;    // questions of check that it broke; "refused" when unreadable
    std::string refused;            // why the store did not open it; "" when it did
    std::string failed;             // why the store ended; "" when it did not
    std::set<std::string> altered;  // calls that the undamaged database never leads to
    std::map<std::string, std::string> ends;  // instance -> "completed", "stuck log_damaged" …
    bool inspect_wrote = false;
    bool is_an_earlier_moment = false;  // some instances are not there; the others ended the same
    bool same_end = false;              // every instance ended as it would have without the damage

    bool noticed() const;
    /// What a promise forbids; "" when nothing is wrong.
    std::string broken_promise() const;
};

class DamageRig {
  public:
    DamageRig();

    /// As a death in the middle of an effect leaves it: some of it is in the WAL only.
    const DatabaseFiles& crashed() const { return crashed_; }
    /// The same as a backup: one file.
    const DatabaseFiles& backup() const { return backup_; }

    /// Inspects, checks, opens and works until nothing is due.
    DamageVerdict judge(const DatabaseFiles& files);

  private:
    void build();
    void write(const DatabaseFiles& files) const;
    DatabaseFiles read() const;
    Registry registry();
    Json order(Context& ctx, const Json& input);
    Json effect(const Attempt& attempt, const std::string& step, const Json& input,
                const Json& before);
    void look(DamageVerdict& verdict);
    void work(DamageVerdict& verdict);
    std::string path() const { return (directory_ / "steplog.db").string(); }

    TemporaryDirectory directory_;
    ManualClock clock_;
    SeededRandom random_{1};
    DatabaseFiles crashed_, backup_;
    std::set<std::string> calls_;                  // since it was last cleared
    std::set<std::string> allowed_;                // every call without damage
    std::map<std::string, std::string> expected_;  // ends without damage
    std::function<void(const std::string& id, const std::string& step)> trouble_;
};

}  // namespace steplog::testing
