// Breakers: whom they hold back, and whom they release. What one makes of an answer is its own
// affair (engine/breaker.h, which has tests of its own).
#include <algorithm>

#include "tests/model/reference.h"

namespace steplog::testing {
namespace {

BreakerPolicy policy_for(const std::shared_ptr<const FlowPolicy>& flow,
                         const std::string& provider) {
    return flow ? flow->of_provider(provider).breaker : BreakerPolicy{};
}

}  // namespace

void Reference::keep(const std::string& provider, const Breaker& breaker) {
    if (breaker.is_blank())
        breakers_.erase(provider);
    else
        breakers_[provider] = breaker;
}

bool Reference::is_held_back(const Instance& instance, const std::string& provider) const {
    const auto breaker = breakers_.find(provider);
    return breaker != breakers_.end() && breaker->second.holds_back(instance.seq);
}

bool Reference::is_paused(const std::string& provider) const {
    const auto breaker = breakers_.find(provider);
    return breaker != breakers_.end() && breaker->second.held_at_ms;
}

std::vector<ReferenceInstance*> Reference::parked(const std::string& provider) {
    std::vector<Instance*> found;
    for (auto& [seq, instance] : instances_)
        if (instance.waits_for == WaitsFor::circuit && instance.waits_detail == provider)
            found.push_back(&instance);
    std::stable_sort(found.begin(), found.end(), [](const Instance* left, const Instance* right) {
        return left->updated_at_ms < right->updated_at_ms;
    });
    return found;
}

void Reference::unpark(Instance& instance, std::int64_t due_at_ms) {
    instance.state = State::pending;
    instance.due_at_ms = due_at_ms;
    instance.waits_for.reset();
    instance.waits_detail.clear();
}

std::int64_t Reference::count_slots(const std::string& scope, const std::string& name) const {
    return std::count_if(slots_.begin(), slots_.end(), [&](const ReferenceSlot& slot) {
        return slot.scope == scope && slot.name == name;
    });
}

// How many more may be at work.
std::int64_t Reference::room(const Limit& limit, const FlowPolicy& flow) const {
    int running_max = 1;
    if (limit.scope == LimitOf::workflow) running_max = flow.of_workflow(limit.name).running_max;
    if (limit.scope == LimitOf::provider) running_max = flow.of_provider(limit.name).running_max;
    if (running_max <= 0) return INT64_MAX;
    return running_max - count_slots(std::string(to_string(limit.scope)), limit.name);
}

std::int64_t Reference::turns(const Limit& limit, const Rate& rate, std::int64_t now_ms) const {
    if (rate.limit <= 0) return INT64_MAX;
    const auto known = rates_.find({std::string(to_string(limit.scope)), limit.name});
    return (known == rates_.end() ? Bucket{} : known->second.first).available(now_ms, rate);
}

// With a deadline it is due at that: not a turn, which is due since it was parked.
bool Reference::has_no_turn(const Instance& instance, std::int64_t now_ms) {
    return !instance.due_at_ms || *instance.due_at_ms > std::max(instance.updated_at_ms, now_ms);
}

bool Reference::waits_for_turn(const Limit& limit, const Rate& rate, std::int64_t now_ms) const {
    if (rate.limit <= 0) return false;
    const bool anybody = std::any_of(instances_.begin(), instances_.end(), [&](const auto& row) {
        return row.second.waits_for == WaitsFor::circuit && has_no_turn(row.second, now_ms) &&
               row.second.waits_detail == limit.detail();
    });
    return anybody || turns(limit, rate, now_ms) <= 0;
}

void Reference::take_turn(const Limit& limit, const Rate& rate, std::int64_t now_ms) {
    if (rate.limit <= 0) return;
    auto& [bucket, by] = rates_[{std::string(to_string(limit.scope)), limit.name}];
    bucket.take(1, now_ms, rate);
    by = rate;
}

std::optional<std::string> Reference::held_back(const Instance& instance, const Advance& advance,
                                                std::int64_t now_ms) const {
    const std::string& provider = advance.calls;
    if (is_held_back(instance, provider)) return provider;
    const FlowPolicy flow = advance.flow ? *advance.flow : FlowPolicy{};
    const Limit slot{Limit::Kind::slot, LimitOf::provider, provider};
    if (room(slot, flow) <= 0) return slot.detail();
    const Limit rate{Limit::Kind::rate, LimitOf::provider, provider};
    if (!advance.has_turn && waits_for_turn(rate, flow.of_provider(provider).rate, now_ms))
        return rate.detail();
    return std::nullopt;
}

std::set<std::string> Reference::limits_in_the_way(Limit::Kind kind) const {
    std::set<std::string> details;
    for (const auto& [seq, instance] : instances_) {
        const auto limit = parse_limit(instance.waits_detail);
        if (instance.waits_for == WaitsFor::circuit && limit && limit->kind == kind)
            details.insert(instance.waits_detail);
    }
    return details;
}

void Reference::wake_where_room(std::int64_t now_ms, const ClaimRequest& request) {
    const FlowPolicy flow = request.flow ? *request.flow : FlowPolicy{};
    for (const std::string& detail : limits_in_the_way(Limit::Kind::slot)) {
        std::int64_t free = std::min<std::int64_t>(request.limit, room(*parse_limit(detail), flow));
        for (Instance* instance : parked(detail)) {
            if (free-- <= 0) break;
            unpark(*instance, std::min(now_ms, instance->updated_at_ms));
        }
    }
}

// How many of those that wait could do something with a turn.
std::int64_t Reference::turns_of_use(const Limit& limit, const FlowPolicy& flow,
                                     std::int64_t now_ms) {
    const auto breaker = breakers_.find(limit.name);
    const bool held = limit.scope == LimitOf::provider && breaker != breakers_.end() &&
                      breaker->second.holds_back(0);
    const auto waiting = parked(limit.detail());
    const bool anybody = std::any_of(waiting.begin(), waiting.end(), [&](const Instance* one) {
        return has_no_turn(*one, now_ms);
    });
    return held || !anybody ? 0 : room(limit, flow);
}

void Reference::give_turns(std::int64_t now_ms, const ClaimRequest& request) {
    const FlowPolicy flow = request.flow ? *request.flow : FlowPolicy{};
    for (const std::string& detail : limits_in_the_way(Limit::Kind::rate)) {
        const Limit limit = *parse_limit(detail);
        const Rate rate = flow.rate_of(limit.scope, limit.name);
        if (rate.limit > 0) {
            auto& [bucket, by] = rates_[{std::string(to_string(limit.scope)), limit.name}];
            if (bucket.refit(now_ms, rate)) by = rate;
        }
        std::int64_t count =
            std::min({std::int64_t{request.limit}, turns_of_use(limit, flow, now_ms),
                      turns(limit, rate, now_ms)});
        for (Instance* instance : parked(detail)) {
            if (!has_no_turn(*instance, now_ms)) continue;
            if (count-- <= 0) break;
            instance->due_at_ms = std::min(now_ms, instance->updated_at_ms);
            take_turn(limit, rate, now_ms);
        }
    }
}

std::optional<std::int64_t> Reference::next_turn_ms(std::int64_t now_ms,
                                                    const ClaimRequest& request) {
    const FlowPolicy flow = request.flow ? *request.flow : FlowPolicy{};
    std::optional<std::int64_t> first;
    for (const std::string& detail : limits_in_the_way(Limit::Kind::rate)) {
        const Limit limit = *parse_limit(detail);
        if (turns_of_use(limit, flow, now_ms) <= 0) continue;
        const Rate rate = flow.rate_of(limit.scope, limit.name);
        const auto known = rates_.find({std::string(to_string(limit.scope)), limit.name});
        const Bucket bucket = known == rates_.end() ? Bucket{} : known->second.first;
        const std::int64_t at = rate.limit > 0 ? bucket.next_at_ms(now_ms, rate) : now_ms;
        if (!first || at < *first) first = at;
    }
    return first;
}

bool Reference::park_without_room(Instance& instance, std::int64_t now_ms,
                                  const ClaimRequest& request) {
    const FlowPolicy flow = request.flow ? *request.flow : FlowPolicy{};
    const WorkflowPolicy policy = flow.of_workflow(instance.workflow);
    const Limit slot{Limit::Kind::slot, LimitOf::workflow, instance.workflow};
    const Limit rate{Limit::Kind::rate, LimitOf::workflow, instance.workflow};
    const bool has_turn =
        instance.waits_for == WaitsFor::circuit && instance.waits_detail == rate.detail();
    const bool begins = instance.epoch == 0 && !has_turn;
    std::string wait;
    if (room(slot, flow) <= 0)
        wait = slot.detail();
    else if (begins && waits_for_turn(rate, policy.rate, now_ms))
        wait = rate.detail();
    if (!wait.empty()) {
        move(instance, now_ms,
             {.to = State::sleeping, .waits_for = WaitsFor::circuit, .waits_detail = wait});
        return true;
    }
    if (policy.running_max > 0) slots_.insert({"workflow", instance.workflow, instance.seq, ""});
    if (begins) take_turn(rate, policy.rate, now_ms);
    return false;
}

bool Reference::may_update(const UpdateClaim& update, Advanced& advanced) const {
    if (update.refused) return true;
    const std::string name = forgotten_name(update.entity);
    if (count_slots("entity", name) > 0) {
        advanced.held_back = "slot entity " + name;
        return false;
    }
    const auto known = versions_.find(name);
    if (known == versions_.end() || known->second.version <= update.version) return true;
    advanced.superseded_by = known->second.version;
    return false;
}

void Reference::update(const Instance& instance, std::int64_t now_ms, const Advance& advance) {
    const std::string name = forgotten_name(advance.update->entity);
    const auto known = versions_.find(name);
    if (!advance.update->refused) {
        slots_.insert({"entity", name, instance.seq, advance.step});
        ReferenceVersion next{.version = advance.update->version, .updated_at_ms = now_ms};
        if (known != versions_.end()) next.before = known->second.version;
        versions_[name] = next;
    } else if (known != versions_.end() && known->second.before) {
        known->second = {.version = *known->second.before, .updated_at_ms = now_ms};
    } else {
        versions_.erase(name);
    }
}

void Reference::begin_call(const Instance& instance, std::int64_t now_ms, const Advance& advance) {
    if (advance.flow && advance.flow->of_provider(advance.calls).running_max > 0)
        slots_.insert({"provider", advance.calls, instance.seq, advance.step});
    if (advance.flow && !advance.has_turn)
        take_turn({Limit::Kind::rate, LimitOf::provider, advance.calls},
                  advance.flow->of_provider(advance.calls).rate, now_ms);
    const auto breaker = breakers_.find(advance.calls);
    if (breaker != breakers_.end())
        breaker->second.begin_call(instance.seq, now_ms, policy_for(advance.flow, advance.calls));
}

void Reference::hear(const Instance& instance, std::int64_t now_ms, const Advance& advance,
                     Advanced& advanced) {
    const ProviderAnswer& answer = *advance.answer;
    const auto known = breakers_.find(answer.provider);
    Breaker breaker = known == breakers_.end() ? Breaker{} : known->second;
    const auto change = breaker.hear(instance.seq, answer.sign, answer.code, now_ms,
                                     policy_for(advance.flow, answer.provider));
    keep(answer.provider, breaker);
    if (change != BreakerChange::none)
        advanced.breakers.push_back(
            {answer.provider, change, answer.code, answer.sign == ProviderSign::key_rejected});
}

void Reference::act_breakers(std::int64_t now_ms, const ClaimRequest& request,
                             ClaimResult& result) {
    const auto before = breakers_;
    for (auto [provider, breaker] : before) {
        const BreakerPolicy policy = policy_for(request.flow, provider);
        if (!breaker.must_act(now_ms, policy)) continue;
        auto waiting = parked(provider);
        const auto acted = breaker.act(static_cast<std::int64_t>(waiting.size()), now_ms, policy);
        waiting.resize(static_cast<std::size_t>(acted.release));
        for (Instance* instance : waiting) unpark(*instance, now_ms);
        keep(provider, breaker);
        if (acted.change != BreakerChange::none)
            result.breakers.push_back({.provider = provider, .change = acted.change});
    }
}

ProviderChanged Reference::change_provider(std::int64_t now_ms, const ProviderChange& change) {
    if (change.provider.empty() || change.provider.size() > 100) return {.refused = "its name"};
    const auto known = breakers_.find(change.provider);
    Breaker breaker = known == breakers_.end() ? Breaker{} : known->second;
    ProviderChanged changed{.parked = static_cast<std::int64_t>(parked(change.provider).size())};
    const bool pauses = change.kind == ProviderChange::Kind::pause;
    if (breaker.is_held() == pauses) {
        changed.refused = "it is so already";
        return changed;
    }
    if (pauses)
        breaker.hold(now_ms);
    else
        breaker.let_go(now_ms);
    if (pauses)
        for (Instance* instance : parked(change.provider)) {
            instance->due_at_ms.reset();
            if (!instance->cancel_requested_at_ms) instance->due_at_ms = instance->deadline_ms;
        }
    keep(change.provider, breaker);
    ++audited_;
    return changed;
}

}  // namespace steplog::testing
