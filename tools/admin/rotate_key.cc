// workflow-admin rotate-key: wraps every data key anew with the first of the encryption keys, a
// transaction at a time, so that older keys can be taken out of the setting. Payloads stay as they
// are.
#include <fmt/format.h>

#include "engine/commands.h"
#include "tools/admin/verb.h"

namespace steplog::tools {
namespace {

int rotate_key(Admin& admin) {
    Owner owner = admin.owner();
    owner.keep_the_database();
    std::int64_t done = 0;
    while (true) {
        const Rotated part = parse_rotated(owner.order(rotate_command({.reason = admin.reason})));
        done += part.done;
        if (part.left == 0) break;
    }
    if (admin.common.json) {
        print_line(Json({{"data_keys", done}}).dump());
        return exit_done;
    }
    print_line(done == 0 ? "every data key is wrapped by the first key already"
                         : fmt::format("wrapped {} data key{} anew", done, done == 1 ? "" : "s"));
    return exit_done;
}

}  // namespace

void add_rotate_key(CLI::App& app, Admin& admin) {
    CLI::App* verb =
        add_verb(app, admin, "rotate-key", "wraps the data keys with the newest encryption key",
                 [&admin] { return rotate_key(admin); });
    add_reason(*verb, admin);
    verb->footer(
        "First put the new key before the old one, STEPLOG_ENCRYPTION_KEY=new,old, and restart the "
        "server; then run this; then take the old one out. Backups made before it still need the "
        "old key.");
}

}  // namespace steplog::tools
