// Negative control of the storms: a server that breaks a promise on purpose, to show that they
// would notice. It is the built server, but for the store's options, which the linker lets pass
// through here (--wrap). BROKEN_PROMISE=early acknowledges before the commit; =relaxed commits with
// synchronous=NORMAL.
#include <cstdlib>
#include <string_view>

#include "engine/sqlite_store.h"

namespace steplog {

std::unique_ptr<Store> real_open(SqliteOptions options, Clock& clock) __asm__(
    "__real__ZN7steplog17open_sqlite_storeENS_13SqliteOptionsERNS_5ClockE");
std::unique_ptr<Store> broken_open(SqliteOptions options, Clock& clock) __asm__(
    "__wrap__ZN7steplog17open_sqlite_storeENS_13SqliteOptionsERNS_5ClockE");

std::unique_ptr<Store> broken_open(SqliteOptions options, Clock& clock) {
    const char* promise = std::getenv("BROKEN_PROMISE");
    if (promise && std::string_view(promise) == "early") options.acknowledge_before_commit = true;
    if (promise && std::string_view(promise) == "relaxed") options.synchronous = "NORMAL";
    return real_open(std::move(options), clock);
}

}  // namespace steplog
