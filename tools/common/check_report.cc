#include "tools/common/check_report.h"

#include <fmt/format.h>

#include "engine/rfc3339.h"
#include "tools/common/cli.h"

namespace steplog::tools {

std::string rough_size(std::int64_t bytes) {
    if (bytes < 10 * 1024) return fmt::format("{} B", bytes);
    if (bytes < 10 * 1024 * 1024) return fmt::format("{} KiB", bytes / 1024);
    return fmt::format("{} MiB", bytes / 1024 / 1024);
}

std::string exact_seconds(Ms span) {
    return fmt::format("{:.3f} s", static_cast<double>(span.count()) / 1000);
}

std::string render_check(const CheckReport& report) {
    std::string text;
    for (const Check& check : report.checks) {
        text += fmt::format(
            "{}  {:<21} {}\n",
            check.broken == 0 ? coloured("ok    ", Colour::green) : coloured("BROKEN", Colour::red),
            check.name, check.promise);
        for (const std::string& example : check.examples)
            text += fmt::format("        {}\n", example);
        const auto more = check.broken - static_cast<std::int64_t>(check.examples.size());
        if (more > 0) text += fmt::format("        and {} more\n", more);
    }
    if (report.backup)
        text += fmt::format("this is a backup, taken at {}\n",
                            format_rfc3339(report.backup->taken_at_ms));
    for (const Restore& restore : report.restores)
        text += fmt::format("restored at {} from a backup taken at {}\n",
                            format_rfc3339(restore.restored_at_ms),
                            format_rfc3339(restore.taken_at_ms));
    text += fmt::format("one read transaction of {}; the write-ahead log stands at {}\n",
                        exact_seconds(report.took), rough_size(report.wal_bytes));
    return text;
}

}  // namespace steplog::tools
