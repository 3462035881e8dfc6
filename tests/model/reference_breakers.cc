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

std::optional<std::string> Reference::held_back(const Instance& instance,
                                                const Advance& advance) const {
    const std::string& provider = advance.calls;
    if (is_held_back(instance, provider)) return provider;
    const int running_max = advance.flow ? advance.flow->of_provider(provider).running_max : 0;
    if (running_max > 0 && count_slots("provider", provider) >= running_max)
        return "slot provider " + provider;
    return std::nullopt;
}

void Reference::wake_where_room(std::int64_t now_ms, const ClaimRequest& request) {
    std::set<std::string> details;
    for (const auto& [seq, instance] : instances_)
        if (instance.waits_for == WaitsFor::circuit && is_slot_detail(instance.waits_detail))
            details.insert(instance.waits_detail);
    for (const std::string& detail : details) {
        const auto [scope, name] = slot_of(detail);
        const FlowPolicy flow = request.flow ? *request.flow : FlowPolicy{};
        const int running_max = scope == SlotOf::workflow ? flow.running_max_of(name)
                                                          : flow.of_provider(name).running_max;
        std::int64_t room = request.limit;
        if (running_max > 0)
            room = std::min(room, running_max - count_slots(std::string(to_string(scope)), name));
        for (Instance* instance : parked(detail)) {
            if (room-- <= 0) break;
            unpark(*instance, std::min(now_ms, instance->updated_at_ms));
        }
    }
}

bool Reference::park_without_room(Instance& instance, std::int64_t now_ms,
                                  const ClaimRequest& request) {
    const int running_max = request.flow ? request.flow->running_max_of(instance.workflow) : 0;
    if (running_max <= 0) return false;
    if (count_slots("workflow", instance.workflow) < running_max) {
        slots_.insert({"workflow", instance.workflow, instance.seq, ""});
        return false;
    }
    move(instance, now_ms,
         {.to = State::sleeping,
          .waits_for = WaitsFor::circuit,
          .waits_detail = "slot workflow " + instance.workflow});
    return true;
}

void Reference::begin_call(const Instance& instance, std::int64_t now_ms, const Advance& advance) {
    if (advance.flow && advance.flow->of_provider(advance.calls).running_max > 0)
        slots_.insert({"provider", advance.calls, instance.seq, advance.step});
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
        for (Instance* instance : parked(change.provider)) instance->due_at_ms.reset();
    keep(change.provider, breaker);
    ++audited_;
    return changed;
}

}  // namespace steplog::testing
