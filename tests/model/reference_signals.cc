// What signals, waits for them, and what is published do to what a store must contain.
#include <algorithm>

#include "engine/entries.h"
#include "tests/model/reference.h"

namespace steplog::testing {

Signalled Reference::signal(std::int64_t now_ms, const SignalRequest& request) {
    const Instance* found = find_newest(request.instance);
    if (!found || is_finished(found->state)) return {.refused = "not there, or at its end"};
    Instance& instance = instances_.at(found->seq);
    for (const ReferenceSignal& known : instance.signals)
        if (!request.dedupe_id.empty() && known.name == request.name &&
            known.dedupe_id == request.dedupe_id)
            return {.duplicate = true};
    const Entry arrived = append(instance, now_ms,
                                 {.kind = EntryKind::signal,
                                  .data = {{"signal", request.name}},
                                  .payload = request.payload});
    instance.signals.push_back({request.name, request.dedupe_id, arrived.n, 0});
    instance.updated_at_ms = now_ms;
    if (instance.state == State::waiting && instance.waits_for == WaitsFor::signal &&
        instance.waits_detail == request.name) {
        instance.state = State::pending;
        instance.due_at_ms = now_ms;
        instance.waits_for.reset();
        instance.waits_detail.clear();
    }
    audited_ += !request.actor.empty();
    return {};
}

Awaited Reference::await_signal(Instance& instance, std::int64_t now_ms, const AwaitSignal& wait) {
    NewEntry entry{.step = wait.wait, .kind = EntryKind::signal};
    const auto next = std::find_if(
        instance.signals.begin(), instance.signals.end(), [&](const ReferenceSignal& signal) {
            return signal.name == wait.signal && (wait.first_only || signal.taken == 0);
        });
    if (next != instance.signals.end()) {
        entry.data["took"] = next->arrived;
        const std::int64_t n = append(instance, now_ms, entry).n;
        if (next->taken == 0) next->taken = n;
        return {Awaited::Kind::taken,
                instance.log.at(static_cast<std::size_t>(next->arrived - 1)).payload};
    }
    if (wait.until_ms && *wait.until_ms <= now_ms) {
        entry.data["timed_out"] = true;
        append(instance, now_ms, entry);
        return {Awaited::Kind::timed_out, {}};
    }
    if (!wait.begun) {
        entry.data["signal"] = wait.signal;
        if (wait.until_ms) entry.data["until_ms"] = *wait.until_ms;
        append(instance, now_ms, entry);
    }
    return {};
}

Published Reference::published(const std::string& instance) const {
    const Instance* found = find_known(instance);
    if (!found) return {};
    std::map<std::string, PublishedValue> last;
    for (const ReferenceEntry& entry : found->log)
        if (entry.kind == EntryKind::published)
            last[entry.step] = {entry.step, entry.payload, entry.at_ms};
    Published published{.found = true};
    for (auto& [name, value] : last) published.values.push_back(std::move(value));
    return published;
}

}  // namespace steplog::testing
