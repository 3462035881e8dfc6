// Keys, once keys and data keys of what a store must contain: who holds them, and who is next.
#include <fmt/format.h>

#include <algorithm>

#include "tests/model/reference.h"

namespace steplog::testing {

// The number of the subject's data key, made when there is none; nothing without encryption.
std::optional<std::int64_t> Reference::seal_for(const std::string& subject) {
    if (master_.empty()) return std::nullopt;
    const auto known = std::find_if(data_keys_.begin(), data_keys_.end(),
                                    [&](const auto& key) { return key.subject == subject; });
    const auto number = known - data_keys_.begin();
    if (known == data_keys_.end()) data_keys_.push_back({subject, master_});
    return number;
}

// A later payload goes with the instance's input, or with its key where that is in clear.
std::optional<std::int64_t> Reference::seal(const Instance& instance,
                                            const std::optional<std::string>& payload) {
    if (!payload || master_.empty()) return std::nullopt;
    return instance.input_sealed_by ? instance.input_sealed_by : seal_for(instance.key);
}

int Reference::free_place(const Instance& instance, const std::string& key) const {
    std::set<int> taken;
    int holders_max = instance.key_holders_max;
    for (const auto& [seq, other] : instances_) {
        if (!other.holds_key || other.key != key) continue;
        taken.insert(other.key_place);
        holders_max = std::min(holders_max, other.key_holders_max);
    }
    if (static_cast<int>(taken.size()) >= holders_max) return 0;
    int place = 1;
    while (taken.contains(place)) ++place;
    return place;
}

int Reference::place_for(const Instance& instance, const std::string& key) const {
    for (const auto& [seq, other] : instances_)
        if (other.state == State::queued && other.key == key) return 0;
    return free_place(instance, key);
}

// The line first, then the holders.
std::vector<std::string> Reference::unfinished_of_key(const std::string& key) const {
    std::map<std::pair<bool, std::int64_t>, std::string> in_order;
    for (const auto& [seq, instance] : instances_) {
        if (instance.key != key) continue;
        if (instance.state == State::queued) in_order[{false, *instance.ticket}] = instance.id;
        if (instance.holds_key) in_order[{true, instance.key_place}] = instance.id;
    }
    std::vector<std::string> ids;
    for (auto& [place, id] : in_order) ids.push_back(std::move(id));
    return ids;
}

void Reference::pass_on(const std::string& key, std::int64_t now_ms) {
    while (true) {
        Instance* next = nullptr;
        for (auto& [seq, instance] : instances_)
            if (instance.state == State::queued && instance.key == key &&
                (!next || *instance.ticket < *next->ticket))
                next = &instance;
        if (!next || free_place(*next, key) == 0) return;
        next->key_place = free_place(*next, key);
        next->holds_key = true;
        next->state = State::pending;
        next->due_at_ms = now_ms;
        const bool paused = next->waits_detail.starts_with("paused ");
        if (paused) next->waits_detail = next->waits_detail.substr(7);
        if (!next->waits_detail.empty())
            next->due_at_ms = std::max(now_ms, std::stol(next->waits_detail));
        next->waits_for.reset();
        next->waits_detail.clear();
        next->ticket.reset();
        next->updated_at_ms = now_ms;
        if (paused) hold(*next, now_ms, false);
    }
}

bool Reference::take_key(Instance& instance, std::int64_t now_ms, const std::string& key) {
    if (instance.key == key && instance.holds_key) return true;
    const std::string old_key = instance.holds_key ? instance.key : "";
    const int place = place_for(instance, key);
    instance.key = key;
    instance.holds_key = place > 0;
    instance.key_place = std::max(place, 1);
    if (place == 0) {
        instance.state = State::queued;
        instance.due_at_ms.reset();
        instance.waits_for = WaitsFor::key;
        instance.owner.reset();
        instance.ticket = ++tickets_;
        std::erase_if(slots_, [&](const ReferenceSlot& s) { return s.instance == instance.seq; });
    }
    if (!old_key.empty()) pass_on(old_key, now_ms);
    return place > 0;
}

// --- once keys
// ------------------------------------------------------------------------------------

// Whoever takes over what was forgotten gives it its name again; who adopts its result does not.
ReferenceOnce& Reference::once_key(const std::string& key) {
    const auto forgotten = once_keys_.find(forgotten_name(key));
    if (forgotten == once_keys_.end()) return once_keys_[key];
    if (forgotten->second.state == "completed") return forgotten->second;
    auto moved = once_keys_.extract(forgotten);
    moved.key() = key;
    return once_keys_.insert(std::move(moved)).position->second;
}

OnceVerdict Reference::claim_once(Instance& instance, std::int64_t now_ms, const OnceClaim& claim) {
    ReferenceOnce& once = once_key(claim.key);
    OnceVerdict verdict;
    if (once.state.empty() || once.state == "free") {
        once.state = "claimed";
        once.instance = instance.seq;
        once.instance_id = instance.id;
        once.step = claim.step;
        once.idempotency_key = claim.idempotency_key;
        if (once.generation > 0) once.idempotency_key += fmt::format("/g{}", once.generation);
        once.request = claim.request;
        once.request_sealed_by = seal(instance, claim.request);
        once.first_attempt_at_ms = once.updated_at_ms = now_ms;
    } else if (once.state == "completed") {
        verdict.kind = OnceVerdict::Kind::adopted;
        verdict.result = once.result;
    } else if (once.state == "claimed" && once.instance != instance.seq) {
        verdict.kind = OnceVerdict::Kind::busy;
    } else if (once.state == "in_doubt" || once.instance_id != instance.id) {
        // Inherited; instance_id names whose attempt is in doubt until that is decided.
        if (once.state == "in_doubt" || claim.decided) once.updated_at_ms = now_ms;
        once.state = "claimed";
        once.instance = instance.seq;
        if (claim.decided) {
            once.instance_id = instance.id;
            once.step = claim.step;
        } else {
            verdict.kind = OnceVerdict::Kind::inherited;
        }
    }
    if (verdict.instance_id.empty()) verdict.instance_id = once.instance_id;
    verdict.idempotency_key = once.idempotency_key;
    verdict.first_attempt_at_ms = once.first_attempt_at_ms;
    if (verdict.kind == OnceVerdict::Kind::granted || verdict.kind == OnceVerdict::Kind::inherited)
        verdict.request = once.request;
    return verdict;
}

void Reference::settle_once(Instance& instance, std::int64_t now_ms, const OnceSettle& settle) {
    ReferenceOnce& once = once_keys_.at(settle.key);
    once.updated_at_ms = now_ms;
    if (settle.completed) {
        once.state = "completed";
        once.result = settle.result;
        once.result_sealed_by = seal(instance, settle.result);
        once.instance_id = instance.id;
    } else {
        once.state = "free";
        once.instance.reset();
        once.request.reset();
        once.generation += settle.for_good;
    }
    wake_waiters(settle.key, now_ms);
}

void Reference::wake_waiters(const std::string& once_key, std::int64_t now_ms) {
    for (auto& [seq, instance] : instances_) {
        if (instance.waits_for == WaitsFor::once && instance.waits_detail == once_key)
            put_back_to_work(instance, now_ms);
    }
}

// With its key, or behind whoever has that now.
void Reference::put_back_to_work(Instance& instance, std::int64_t now_ms) {
    const bool wants_key = !instance.key.empty() && !instance.holds_key;
    const int place = wants_key ? place_for(instance, instance.key) : 0;
    const bool queues = wants_key && place == 0;
    if (place > 0) instance.key_place = place;
    instance.state = queues ? State::queued : State::pending;
    instance.due_at_ms.reset();
    if (!queues) instance.due_at_ms = now_ms;
    instance.waits_for.reset();
    if (queues) instance.waits_for = WaitsFor::key;
    instance.waits_detail.clear();
    instance.ticket.reset();
    if (queues) instance.ticket = ++tickets_;
    instance.holds_key = !instance.key.empty() && !queues;
    instance.updated_at_ms = now_ms;
}

}  // namespace steplog::testing
