// What people and retention do to what a store must contain: resume, cancel, purge, and keys
// that are rotated.
#include <algorithm>
#include <cstdlib>

#include "engine/entries.h"
#include "tests/model/reference.h"

namespace steplog::testing {

Resumed Reference::resume(std::int64_t now_ms, const ResumeRequest& request) {
    Resumed resumed;
    const auto one = [&](Instance& instance) {
        std::string reason = resume_one(instance, now_ms, request);
        if (reason.empty())
            resumed.ids.push_back(instance.id);
        else
            resumed.skipped.push_back({instance.id, std::move(reason)});
    };
    for (const std::string& id : request.ids) {
        if (const Instance* found = find_newest(id))
            one(instances_.at(found->seq));
        else
            resumed.skipped.push_back({id, "not found"});
    }
    if (!request.ids.empty()) return resumed;

    const std::int64_t age_ms = request.older_than.value_or(Ms(0)).count();
    const auto stands_as_asked = [&](const Instance& instance) {
        return (request.workflow.empty() || instance.workflow == request.workflow) &&
               (request.step.empty() || instance.step == request.step);
    };
    std::vector<Instance*> matching;
    for (auto& [seq, instance] : instances_) {
        const bool may =
            instance.state == State::stuck ||
            (instance.state == State::sleeping &&
             (instance.waits_for == WaitsFor::retry || instance.waits_for == WaitsFor::circuit));
        if (may && stands_as_asked(instance) &&
            (!request.state || instance.state == *request.state) &&
            (request.error_code.empty() || instance.error_code == request.error_code) &&
            std::abs(now_ms - instance.updated_at_ms) >= age_ms)
            matching.push_back(&instance);
    }
    for (Instance* instance : matching) {
        if (request.limit > 0 && static_cast<int>(resumed.ids.size()) >= request.limit) break;
        one(*instance);
    }
    return resumed;
}

// The reason why not; "" when it was resumed.
std::string Reference::resume_one(Instance& instance, std::int64_t now_ms,
                                  const ResumeRequest& request) {
    const bool between_attempts =
        instance.state == State::sleeping &&
        (instance.waits_for == WaitsFor::retry ||
         (instance.waits_for == WaitsFor::circuit && !parse_limit(instance.waits_detail)));
    if (instance.state != State::stuck && !between_attempts) return "not in such a state";
    const bool by_id = !request.ids.empty();
    if (instance.error_code == "in_doubt" && !by_id) return "in_doubt";
    append(instance, now_ms,
           {.step = instance.step,
            .kind = EntryKind::resumed,
            .data = {{"by", request.actor},
                     {"was", to_string(instance.state)},
                     {"code", instance.error_code},
                     {"decided", by_id}}});
    ++audited_;
    const auto breaker = breakers_.find(instance.waits_detail);
    if (instance.waits_for == WaitsFor::circuit && breaker != breakers_.end())
        breaker->second.let_one_try(now_ms, {});
    put_back_to_work(instance, now_ms);
    instance.deaths = 0;
    instance.attempt = 0;
    return "";
}

StepDecided Reference::decide(std::int64_t now_ms, const StepDecision& decision) {
    const Instance* found = find_newest(decision.instance);
    if (!found) return {"not found"};
    Instance& instance = instances_.at(found->seq);
    const bool between_attempts =
        instance.state == State::sleeping &&
        (instance.waits_for == WaitsFor::retry || instance.waits_for == WaitsFor::circuit);
    if (instance.state != State::stuck && !between_attempts) return {"not in such a state"};
    if (instance.error_code == "log_damaged") return {"log_damaged"};
    const ReferenceEntry* last = nullptr;
    bool is_step = false;
    for (const ReferenceEntry& entry : instance.log) {
        if (entry.step != decision.step) continue;
        if (entry.kind == EntryKind::completed || entry.kind == EntryKind::skipped)
            return {"finished"};
        is_step = is_step || entry.kind == EntryKind::started || entry.kind == EntryKind::retried ||
                  entry.kind == EntryKind::failed;
        last = &entry;
    }
    const bool stuck_there =
        last && last->kind == EntryKind::stuck && instance.step == decision.step;
    if (last && last->kind == EntryKind::failed) return {"failed"};
    if (!is_step && !stuck_there) return {"no such step"};

    Json said = {{"by", decision.actor}, {"was", to_string(instance.state)}};
    if (!instance.error_code.empty()) said["was_code"] = instance.error_code;
    if (!decision.reason.empty()) said["reason"] = decision.reason;
    if (!decision.result) {
        said["code"] = decision.code;
        said["error"] = decision.message;
    }
    append(instance, now_ms,
           {.step = decision.step,
            .kind = decision.result ? EntryKind::skipped : EntryKind::failed,
            .data = std::move(said),
            .payload = decision.result});
    for (auto& [key, once] : once_keys_)
        if (once.state == "claimed" && once.instance == instance.seq && once.step == decision.step)
            settle_once(instance, now_ms,
                        {.key = key,
                         .completed = decision.result.has_value(),
                         .for_good = true,
                         .result = decision.result});
    ++audited_;
    put_back_to_work(instance, now_ms);
    instance.deaths = 0;
    instance.attempt = 0;
    return {};
}

Cancelled Reference::cancel(std::int64_t owner, std::int64_t now_ms, const CancelRequest& request) {
    acting_ = owner;
    Cancelled cancelled;
    for (const std::string& id : request.ids) {
        const Instance* newest = find_newest(id);
        cancel_one(newest ? newest->id : id, now_ms, request, cancelled);
    }
    return cancelled;
}

void Reference::cancel_one(const std::string& id, std::int64_t now_ms, const CancelRequest& request,
                           Cancelled& cancelled) {
    const Instance* found = find(id);
    if (!found || is_finished(found->state)) {
        cancelled.skipped.push_back({id, "not there, or at its end"});
        return;
    }
    Instance& instance = instances_.at(found->seq);
    Json said = {{"by", request.actor}};
    if (!request.reason.empty()) said["reason"] = request.reason;
    const bool runs = instance.state == State::running && instance.owner == acting_;
    const bool takes_back = instance.error_code != "log_damaged" && can_take_back(instance);
    if (!request.kill && (runs || takes_back)) {
        cancelled.requested.push_back(id);
        if (instance.cancel_requested_at_ms) return;
        instance.cancel_requested_at_ms = now_ms;
        if (runs) instance.waits_for.reset();
        if (instance.waits_detail.starts_with("paused "))
            instance.waits_detail = instance.waits_detail.substr(7);
        asked_to_end_[id] = std::move(said);
        if (!runs && instance.state != State::queued) put_back_to_work(instance, now_ms);
    } else {
        cancelled.ids.push_back(id);
        asked_to_end_[id] = said;
        said["was"] = to_string(instance.state);
        if (!instance.error_code.empty()) said["code"] = instance.error_code;
        end_cancelled(instance, now_ms, std::move(said));
    }
    ++audited_;
}

void Reference::end_cancelled(Instance& instance, std::int64_t now_ms, Json said) {
    append(instance, now_ms,
           {.step = instance.step, .kind = EntryKind::cancelled, .data = std::move(said)});
    const bool too_late = parse_stored(instance.log.back().data).value("code", "") == deadline_code;
    move(instance, now_ms,
         {.to = State::cancelled,
          .error_code = too_late ? deadline_code : "",
          .error = too_late ? "its deadline has passed" : ""});
}

bool Reference::can_take_back(const Instance& instance) {
    return std::any_of(instance.log.begin(), instance.log.end(), [](const auto& entry) {
        return entry.kind == EntryKind::completed && parse_stored(entry.data).contains("undo");
    });
}

void Reference::leave_as_asked(Instance& instance, std::int64_t now_ms, const std::string& code) {
    if (can_take_back(instance))
        move(instance, now_ms, {.to = State::pending, .delay = Ms(0)});
    else
        end_as_asked(instance, now_ms, code);
}

void Reference::end_as_asked(Instance& instance, std::int64_t now_ms, const std::string& code) {
    Json said = asked_to_end_.at(instance.id);
    if (!said.contains("was")) said["was"] = "running";
    if (!code.empty() && !said.contains("code")) said["code"] = code;
    end_cancelled(instance, now_ms, std::move(said));
}

Moved Reference::move(std::int64_t owner, std::int64_t now_ms, const MoveRequest& request) {
    Moved moved;
    for (const std::string& id : request.ids) {
        const Instance* found = find_newest(id);
        const bool known = found && (!request.workflows ||
                                     std::count(request.workflows->begin(),
                                                request.workflows->end(), found->workflow) > 0);
        if (!known || is_finished(found->state) || found->version == request.to_version ||
            (found->state == State::running && found->owner == owner)) {
            moved.skipped.push_back({id, "not there, not known, or not to be moved"});
            continue;
        }
        Instance& instance = instances_.at(found->seq);
        Json said = {{"by", request.actor},
                     {"from", instance.version},
                     {"to", request.to_version},
                     {"was", to_string(instance.state)}};
        const bool stuck = instance.state == State::stuck;
        if (stuck) said["code"] = instance.error_code;
        if (!request.reason.empty()) said["reason"] = request.reason;
        append(instance, now_ms, {.kind = EntryKind::moved, .data = std::move(said)});
        ++audited_;
        instance.version = request.to_version;
        moved.ids.push_back(instance.id);
        if (stuck && instance.error_code != "unknown_version")
            moved.still_stuck.push_back(instance.id);
        if (stuck && instance.error_code == "unknown_version") put_back_to_work(instance, now_ms);
    }
    return moved;
}

Rotated Reference::rotate_keys(const RotateRequest& request) {
    if (master_.empty()) throw StoreError(StoreError::Kind::constraint, "nothing is encrypted");
    Rotated rotated;
    for (ReferenceDataKey& key : data_keys_) {
        if (key.master == master_ || key.master.empty()) continue;
        if (rotated.done == request.limit) {
            ++rotated.left;
            continue;
        }
        key.master = master_;
        ++rotated.done;
    }
    audited_ += rotated.done > 0;
    return rotated;
}

// A parent may still ask how its child ended, and a forgotten customer's children are found by it.
bool Reference::goes_with_retention(const Instance& instance,
                                    std::int64_t finished_before_ms) const {
    if (!instance.finished_at_ms || *instance.finished_at_ms >= finished_before_ms) return false;
    if (instance.parent && !is_finished(instances_.at(*instance.parent).state)) return false;
    return std::none_of(instances_.begin(), instances_.end(),
                        [&](const auto& row) { return row.second.parent == instance.seq; });
}

Purged Reference::purge(std::int64_t now_ms, const PurgeRequest& request) {
    const std::int64_t finished_before_ms = now_ms - request.older_than.count();
    const std::int64_t received_before_ms =
        now_ms - std::max(request.older_than, events_kept_min).count();
    std::vector<const Instance*> ended;
    for (const auto& [seq, instance] : instances_)
        if (goes_with_retention(instance, finished_before_ms)) ended.push_back(&instance);
    std::stable_sort(ended.begin(), ended.end(), [](const Instance* left, const Instance* right) {
        return *left->finished_at_ms < *right->finished_at_ms;
    });
    ended.resize(std::min(ended.size(), static_cast<std::size_t>(request.limit)));
    Purged purged;
    purged.instances = static_cast<int>(ended.size());
    for (const Instance* instance : ended) {
        for (auto& [id, event] : events_)
            if (event.instance == instance->seq) event.body_kept = false;
        instances_.erase(instance->seq);
    }
    std::erase_if(arrivals_, [&](const EventId& id) {
        const ReferenceEvent& event = events_.at(id);
        const bool goes = purged.events < request.limit &&
                          event.received_at_ms < received_before_ms &&
                          (!event.instance || !instances_.contains(*event.instance));
        if (!goes) return false;
        ++purged.events;
        events_.erase(id);
        return true;
    });
    audited_ += !request.actor.empty() && purged.instances + purged.events > 0;
    return purged;
}

}  // namespace steplog::testing
