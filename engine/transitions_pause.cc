// Pausing: an instance, or all of a workflow. A paused instance sleeps without a time; its place
// (what it would be otherwise) stands in waits_detail as JSON, so that unpausing puts it back. One
// that runs is marked with waits_for='pause', and one that queues in waits_detail, until they come
// to where they can be held.
#include <fmt/format.h>

#include <charconv>

#include "engine/entries.h"
#include "engine/run_id.h"
#include "engine/transitions.h"

namespace steplog {
namespace {

constexpr std::string_view workflow_prefix = "paused_workflow:";  // rows of meta
constexpr std::size_t workflow_length_max = 255;
constexpr std::string_view in_line = "paused ";  // before the earliest time, if there is one

std::string row_of_workflow(const std::string& workflow) {
    return std::string(workflow_prefix) + workflow;
}

}  // namespace

bool is_paused_in_line(std::string_view waits_detail) { return waits_detail.starts_with(in_line); }

std::string not_before_in_line(const std::string& waits_detail) {
    return is_paused_in_line(waits_detail) ? waits_detail.substr(in_line.size()) : waits_detail;
}

std::int64_t time_in_line(const std::string& not_before) {
    std::int64_t at_ms = 0;
    std::from_chars(not_before.data(), not_before.data() + not_before.size(), at_ms);
    return at_ms;
}

bool Transitions::is_workflow_paused(const std::string& workflow) {
    if (!any_workflow_paused_) return false;
    return Query(statements_, "SELECT 1 FROM meta WHERE name=?", row_of_workflow(workflow)).next();
}

std::set<std::string> Transitions::paused_workflows() {
    std::set<std::string> workflows;
    if (!any_workflow_paused_) return workflows;
    // ';' follows ':'.
    Query read(statements_,
               "SELECT name FROM meta WHERE name>='paused_workflow:' AND name<'paused_workflow;'");
    while (read.next()) workflows.insert(read.text(0).substr(workflow_prefix.size()));
    return workflows;
}

// From wherever it stands now. What waits for something that may happen meanwhile looks again when
// it is unpaused; what waits for a time keeps that time.
void Transitions::hold(std::int64_t seq, bool with_its_workflow) {
    std::string state, waits_for, detail;
    std::int64_t due_at_ms = 0;
    {
        Query read(statements_,
                   "SELECT state, waits_for, waits_detail, due_at_ms FROM instances WHERE seq=?",
                   seq);
        read.next();
        state = read.text(0);
        waits_for = read.text(1);
        detail = read.text(2);
        due_at_ms = read.integer(3);
    }
    if (state == "queued") {
        Query(statements_, "UPDATE instances SET waits_detail=?, updated_at_ms=? WHERE seq=?",
              std::string(in_line) + detail, now(), seq)
            .run();
        return;
    }
    if (any_slot_) give_back_slots(seq);
    const bool for_a_time = state == "sleeping" && (waits_for == "retry" || waits_for == "timer");
    const bool keeps_time = for_a_time || state == "pending";
    Json place = {{"was", for_a_time ? "sleeping" : "pending"},
                  {"due_at_ms", keeps_time ? due_at_ms : now()}};
    if (for_a_time) place["for"] = waits_for;
    if (with_its_workflow) place["workflow"] = true;
    Query(statements_,
          "UPDATE instances SET state='sleeping', due_at_ms=NULL, waits_for='pause', "
          "waits_detail=?, owner=NULL, updated_at_ms=? WHERE seq=?",
          to_text(place), now(), seq)
        .run();
}

void Transitions::let_go_on(std::int64_t seq, const Json& place) {
    std::optional<std::string> waits_for;
    if (place.contains("for")) waits_for = place.at("for").get<std::string>();
    Query(statements_,
          "UPDATE instances SET state=?, due_at_ms=?, waits_for=?, waits_detail=NULL, "
          "updated_at_ms=? WHERE seq=?",
          place.value("was", "pending"), place.value("due_at_ms", now()), waits_for, now(), seq)
        .run();
}

std::string Transitions::pause_one(Standing& at, const OperateRequest& operation,
                                   Operated& operated) {
    if (at.state == "stuck") return "stuck: it does nothing until a person resumes it";
    if (at.asked_to_end) return "it was asked to end";
    if (at.waits_for == "child" && first_run(at.waits_detail) == first_run(at.row.id))
        return fmt::format("it begins when {}, which it replaces, has ended: pause it then",
                           at.waits_detail);
    const bool with_its_workflow = at.is_paused() && at.place().contains("workflow");
    const bool asked_before = at.state == "running" && at.waits_for == "pause";
    if (asked_before || (at.is_paused() && !with_its_workflow) ||
        (at.state == "queued" && is_paused_in_line(at.waits_detail)))
        return "it is paused already";
    if (at.living_holder) {
        Query(statements_, "UPDATE instances SET waits_for='pause' WHERE seq=?", at.row.seq).run();
        operated.requested.push_back(at.row.id);
    } else {
        if (with_its_workflow) let_go_on(at.row.seq, at.place());
        if (at.state == "running")
            Query(statements_, "UPDATE instances SET deaths=deaths+1 WHERE seq=?", at.row.seq)
                .run();
        hold(at.row.seq, false);
        operated.ids.push_back(at.row.id);
    }
    audit_operation(operation, at);
    return "";
}

std::string Transitions::unpause_one(Standing& at, const OperateRequest& operation,
                                     Operated& operated) {
    const bool marked = at.state == "running" && at.waits_for == "pause";
    const bool in_the_line = at.state == "queued" && is_paused_in_line(at.waits_detail);
    if (!marked && !in_the_line && !at.is_paused()) return at.state + ": it is not paused";
    if (at.is_paused() && at.place().contains("workflow"))
        return "its workflow is paused: workflow-admin unpause --workflow " + at.workflow;
    if (marked)
        Query(statements_, "UPDATE instances SET waits_for=NULL WHERE seq=?", at.row.seq).run();
    else if (in_the_line)
        Query(statements_, "UPDATE instances SET waits_detail=?, updated_at_ms=? WHERE seq=?",
              or_null(not_before_in_line(at.waits_detail)), now(), at.row.seq)
            .run();
    else
        let_go_on(at.row.seq, at.place());
    operated.ids.push_back(at.row.id);
    audit_operation(operation, at);
    return "";
}

// Those that are held are so until the next claim finds them due.
std::string Transitions::pause_workflow(const std::string& workflow,
                                        const OperateRequest& operation) {
    if (workflow.empty() || workflow.size() > workflow_length_max)
        return "a workflow's name has 1 to 255 characters";
    if (is_workflow_paused(workflow)) return "it is paused already";
    any_workflow_paused_ = true;  // never false again in this life: this transaction may yet fail
    Query(statements_, "INSERT INTO meta(name,value) VALUES (?,?)", row_of_workflow(workflow),
          now())
        .run();
    audit(operation.actor, "pause-workflow", workflow, {{"reason", operation.reason}});
    return "";
}

std::string Transitions::unpause_workflow(const std::string& workflow,
                                          const OperateRequest& operation) {
    if (!is_workflow_paused(workflow)) return "it is not paused";
    Query(statements_, "DELETE FROM meta WHERE name=?", row_of_workflow(workflow)).run();
    std::vector<std::pair<std::int64_t, Json>> held;
    {
        Query read(statements_,
                   "SELECT seq, waits_detail FROM instances WHERE waits_for='pause' AND "
                   "waits_detail IS NOT NULL AND workflow=? ORDER BY seq",
                   workflow);
        while (read.next()) held.emplace_back(read.integer(0), parse_stored(read.text(1)));
    }
    for (const auto& [seq, place] : held)
        if (place.contains("workflow")) let_go_on(seq, place);
    audit(operation.actor, "unpause-workflow", workflow, {{"reason", operation.reason}});
    return "";
}

}  // namespace steplog
