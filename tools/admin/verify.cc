// workflow-admin verify FILE: is this backup, or this database at rest, whole? Reads only.
#include <fmt/format.h>

#include <memory>

#include "engine/file_lock.h"
#include "engine/inspect.h"
#include "engine/inspect_json.h"
#include "tools/admin/verb.h"
#include "tools/common/check_report.h"

namespace steplog::tools {
namespace {

int verify(const std::string& file, const Admin& admin) {
    if (FileLock::is_held(file))
        throw Failure(fmt::format(
            "{} is in use: a check would hold up its server's clean-up; look at a backup, or run: "
            "workflow-inspect --database {} check",
            file, file));
    Inspector inspector(file, admin.clock, "", encryption_keys());
    const CheckReport report = inspector.check();
    if (admin.common.json)
        print_line(dump(json_of(report), 2));
    else
        print(render_check(report));
    if (report.holds()) return exit_done;
    std::string broken;
    for (const Check& check : report.checks)
        if (check.broken > 0) broken += (broken.empty() ? "" : ", ") + check.name;
    complain(admin_program, fmt::format("{} is not whole ({}): do not restore it; keep it, and "
                                        "verify an older one",
                                        file, broken));
    return exit_failed;
}

}  // namespace

void add_verify(CLI::App& app, Admin& admin) {
    const auto file = std::make_shared<std::string>();
    add_verb(app, admin, "verify", "is a backup, or a database at rest, whole? exit 1 if not",
             [&admin, file] { return verify(*file, admin); })
        ->add_option("FILE", *file, "the backup or database")
        ->required();
}

}  // namespace steplog::tools
