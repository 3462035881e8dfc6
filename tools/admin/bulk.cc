#include "tools/admin/bulk.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/inspect_json.h"
#include "tools/common/named.h"

namespace steplog::tools {
namespace {

// What a look at the database says before anything is changed.
struct Look {
    std::vector<std::string> ids;
    std::vector<Resumed::Skipped> unknown;
    std::optional<Plan> plan;
};

std::vector<InstanceRow> rows_of(Inspector& inspector, const std::vector<std::string>& ids) {
    std::vector<InstanceRow> rows;
    rows.reserve(ids.size());
    for (const std::string& id : ids) rows.push_back(inspector.find(id));
    return rows;
}

// The oldest first, as they arrived.
std::vector<InstanceRow> all_that_match(Inspector& inspector, const Selection& selection,
                                        const Bulk& bulk) {
    InstanceFilter filter = selection.filter;
    filter.limit = 0;
    std::vector<InstanceRow> rows = inspector.list(filter);
    std::reverse(rows.begin(), rows.end());
    std::erase_if(rows, [&](const InstanceRow& row) { return !bulk.why_not(row).empty(); });
    const auto limit = static_cast<std::size_t>(selection.filter.limit);
    if (limit > 0 && rows.size() > limit) rows.resize(limit);
    return rows;
}

Plan plan_for(Inspector& inspector, const std::vector<InstanceRow>& rows, const Bulk& bulk) {
    Plan plan{.deed = bulk.deed};
    for (const InstanceRow& row : rows) {
        if (std::string why = bulk.why_not(row); !why.empty())
            plan.skipped.push_back({row.id, std::move(why)});
        else
            plan.add(inspector, row, bulk.brings(row));
    }
    return plan;
}

// The reading connection ends with this function: whoever writes has the file to itself.
Look look_first(Admin& admin, const Selection& selection, const Bulk& bulk) {
    Inspector inspector(admin.common.database, admin.clock);
    Named named = resolve(inspector, selection.texts, admin_program);
    Look look{.ids = std::move(named.ids), .unknown = std::move(named.unknown), .plan = {}};
    if (!selection.all && !selection.plan) return look;
    const auto rows =
        selection.all ? all_that_match(inspector, selection, bulk) : rows_of(inspector, look.ids);
    if (selection.all)
        for (const InstanceRow& row : rows) look.ids.push_back(row.id);
    if (!selection.plan) return look;
    look.plan = plan_for(inspector, rows, bulk);
    look.plan->skipped.insert(look.plan->skipped.end(), look.unknown.begin(), look.unknown.end());
    return look;
}

// Much may have happened since the first look: a bulk of thousands at a pace takes hours.
std::vector<std::string> still_matching(Admin& admin, const Selection& selection, const Bulk& bulk,
                                        const std::vector<std::string>& ids) {
    Inspector inspector(admin.common.database, admin.clock);
    std::vector<std::string> still;
    for (const std::string& id : ids) {
        try {
            const InstanceRow row = inspector.find(id);
            if (row.id == id && matches(row, selection.filter, admin.clock.now_ms()) &&
                bulk.why_not(row).empty())
                still.push_back(id);
        } catch (const InspectError& error) {
            // Retention took it.
            if (error.kind() != InspectError::Kind::not_found &&
                error.kind() != InspectError::Kind::ambiguous)
                throw;
        }
    }
    return still;
}

void in_lots(Admin& admin, const Selection& selection, const Bulk& bulk,
             const std::vector<std::string>& ids) {
    Owner owner = admin.owner();
    if (selection.all) owner.keep_the_database();
    const auto lot = static_cast<std::size_t>(lot_of(selection));
    for (std::size_t begin = 0; begin < ids.size(); begin += lot) {
        if (begin > 0) pause_before_next_lot(selection, owner);
        const std::size_t end = std::min(ids.size(), begin + lot);
        std::vector<std::string> some(ids.begin() + static_cast<std::ptrdiff_t>(begin),
                                      ids.begin() + static_cast<std::ptrdiff_t>(end));
        // Where this program keeps the database, nobody else changes it.
        if (selection.all && (begin == 0 || owner.served()))
            some = still_matching(admin, selection, bulk, some);
        if (!some.empty()) bulk.carry_out(owner, some);
    }
    if (selection.pace && !owner.served())
        complain(admin_program, "no server runs: all at once, because --rate needs a server");
}

}  // namespace

int carry_out(Admin& admin, const Selection& selection, const Bulk& bulk) {
    const Look look = look_first(admin, selection, bulk);
    if (look.plan) {
        print(admin.common.json ? dump(json_of(*look.plan), 2) + "\n" : render(*look.plan));
        return look.unknown.empty() ? exit_done : exit_failed;
    }
    if (selection.all && !confirmed(selection, bulk.deed, look.ids.size())) {
        complain(admin_program, fmt::format("nothing was {}", bulk.deed.done));
        return exit_failed;
    }
    if (!look.ids.empty()) in_lots(admin, selection, bulk, look.ids);
    const int code = bulk.finish(look.unknown);
    return selection.all ? exit_done : code;
}

}  // namespace steplog::tools
