#include "engine/user_tables.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include "engine/entries.h"
#include "engine/group_commit.h"

namespace steplog {
namespace {

constexpr const char* not_in_main = "use temporary or virtual tables, or ANALYZE";
constexpr int steps_between_looks = 1000;  // of SQLite's virtual machine: some 20 microseconds

bool is_users(const std::string& name) { return name.starts_with("app_"); }

bool is_catalogue(const std::string& name) {
    return name == "sqlite_master" || name == "sqlite_schema";
}

// What says that the store is in trouble, whoever meets it.
bool concerns_store(const SQLite::Exception& error) {
    switch (error.getErrorCode() & 0xff) {
        case SQLITE_FULL:
        case SQLITE_IOERR:
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
        case SQLITE_NOMEM:
        case SQLITE_CANTOPEN:
        case SQLITE_READONLY:
        case SQLITE_PROTOCOL:
            return true;
        default:
            return false;
    }
}

}  // namespace

UserTables::UserTables(SQLite::Database& database, Ms change_limit)
    : database_(database), limit_(change_limit) {
    ours_ = count_ours();
    sqlite3_set_authorizer(database_.getHandle(), &UserTables::judge, this);
}

UserTables::~UserTables() { sqlite3_set_authorizer(database_.getHandle(), nullptr, nullptr); }

std::string UserTables::make(const Change& change) {
    try {
        return run(change);
    } catch (const SQLite::Exception& error) {
        if (concerns_store(error)) throw;
        throw ChangeThrew(std::current_exception());
    } catch (const TransactionEnded&) {
        throw;
    } catch (const std::bad_alloc&) {
        throw;
    } catch (...) {
        throw ChangeThrew(std::current_exception());
    }
}

std::string UserTables::run(const Change& change) {
    struct Inside {
        UserTables& tables;
        sqlite3* handle;
        explicit Inside(UserTables& of) : tables(of), handle(of.database_.getHandle()) {
            tables.inside_ = true;
            tables.restructured_ = false;
            tables.denied_.clear();
            tables.deadline_ = std::chrono::steady_clock::now() + tables.limit_;
            sqlite3_progress_handler(handle, steps_between_looks, &UserTables::is_too_late, &of);
        }
        ~Inside() {
            sqlite3_progress_handler(handle, 0, nullptr, nullptr);
            tables.inside_ = false;
        }
    };
    std::string result;
    std::exception_ptr thrown;
    try {
        const Inside inside(*this);
        result = to_text(change(database_));
    } catch (const SQLite::Exception& error) {
        if (concerns_store(error)) throw;
        thrown = std::current_exception();
    } catch (...) {
        thrown = std::current_exception();
    }
    refuse_an_ended_transaction();
    if (thrown) explain(thrown);
    if (std::chrono::steady_clock::now() > deadline_) throw_too_long();
    if (restructured_) refuse_foreign_structure();
    return result;
}

void UserTables::refuse_an_ended_transaction() const {
    if (sqlite3_get_autocommit(database_.getHandle()) == 0) return;
    throw TransactionEnded(ChangeThrew(std::make_exception_ptr(ChangeRefused(
        "a change rolled the whole transaction back, which is others' too: use no OR ROLLBACK, ON "
        "CONFLICT ROLLBACK or RAISE(ROLLBACK)"))));
}

// What SQLite says of our doing, in words that help; all else as it was thrown.
void UserTables::explain(const std::exception_ptr& thrown) const {
    try {
        std::rethrow_exception(thrown);
    } catch (const SQLite::Exception& error) {
        const int code = error.getErrorCode() & 0xff;
        if (code == SQLITE_INTERRUPT) throw_too_long();
        const bool denied = code == SQLITE_AUTH || code == SQLITE_ERROR;  // ERROR: a function
        if (denied && !denied_.empty())
            throw ChangeRefused(fmt::format("a change may not {}", denied_));
        throw;
    }
}

void UserTables::throw_too_long() const {
    throw ChangeRefused(
        fmt::format("a change took longer than the {} ms for which all other writes may be made to "
                    "wait: do less in one",
                    limit_.count()));
}

int UserTables::is_too_late(void* self) {
    return std::chrono::steady_clock::now() > static_cast<UserTables*>(self)->deadline_ ? 1 : 0;
}

int UserTables::judge(void* self, int action, const char* first, const char* second,
                      const char* /*database*/, const char* /*trigger*/) {
    auto& tables = *static_cast<UserTables*>(self);
    if (!tables.inside_) return SQLITE_OK;
    return tables.allows(action, first ? first : "", second ? second : "") ? SQLITE_OK
                                                                           : SQLITE_DENY;
}

bool UserTables::allows(int action, const std::string& first, const std::string& second) {
    const auto of_users = [&](const std::string& name, const char* what) {
        if (is_users(name)) return true;
        denied_ = fmt::format("{} {}: its own are named app_…", what, name);
        return false;
    };
    const auto never = [&](const char* what) {
        denied_ = what;
        return false;
    };
    switch (action) {
        case SQLITE_SELECT:
        case SQLITE_RECURSIVE:
            return true;
        case SQLITE_FUNCTION:
            return second != "load_extension" || never("load extensions");
        case SQLITE_READ:
            return first.empty() || is_catalogue(first) || first == "json_each" ||
                   first == "json_tree" || of_users(first, "read the table");
        case SQLITE_INSERT:
        case SQLITE_UPDATE:
        case SQLITE_DELETE:
            if (first.starts_with("sqlite_temp_")) return never(not_in_main);
            // The catalogue: as part of a CREATE, DROP or ALTER. SQLite refuses to change it else.
            return is_catalogue(first) || of_users(first, "change the table");
        case SQLITE_CREATE_INDEX:
        case SQLITE_CREATE_TRIGGER:
        case SQLITE_DROP_INDEX:
        case SQLITE_DROP_TRIGGER:
            restructured_ = true;
            return of_users(second, "add to or take from the table");
        case SQLITE_ALTER_TABLE:
            restructured_ = true;
            return of_users(second, "alter the table");
        case SQLITE_CREATE_TABLE:
        case SQLITE_CREATE_VIEW:
        case SQLITE_DROP_TABLE:
        case SQLITE_DROP_VIEW:
            restructured_ = true;
            return of_users(first, "create or drop");
        case SQLITE_REINDEX:
            return of_users(first, "rebuild the index");
        case SQLITE_TRANSACTION:
        case SQLITE_SAVEPOINT:
            return never("begin or end a transaction: it runs in one");
        case SQLITE_PRAGMA:
            return never("use PRAGMA");
        case SQLITE_ATTACH:
        case SQLITE_DETACH:
            return never("use ATTACH or DETACH");
        default:
            return never(not_in_main);
    }
}

// After a CREATE, DROP or ALTER: what bears a name of ours, and what could hold our rows fast.
void UserTables::refuse_foreign_structure() {
    if (count_ours() != ours_)
        throw ChangeRefused(
            "the names of a program's tables, indexes, triggers and views all begin with app_");
    SQLite::Statement foreign(database_,
                              "SELECT s.name FROM sqlite_schema s, pragma_foreign_key_list(s.name) "
                              "f WHERE s.type='table' AND substr(s.name,1,4)='app_' AND "
                              "substr(f.\"table\",1,4)<>'app_'");
    if (foreign.executeStep())
        throw ChangeRefused(
            fmt::format("the table {} refers to a table that is not the program's: keep ids as "
                        "plain columns",
                        foreign.getColumn(0).getString()));
}

// Tables by their own name, all else by its own and its table's: what SQLite makes for a table by
// itself bears a name of SQLite's.
std::int64_t UserTables::count_ours() {
    return database_
        .execAndGet(
            "SELECT count(*) FROM sqlite_schema WHERE substr(tbl_name,1,4)<>'app_' OR "
            "(substr(name,1,4)<>'app_' AND substr(name,1,7)<>'sqlite_')")
        .getInt64();
}

}  // namespace steplog
