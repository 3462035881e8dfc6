#include "engine/step_log.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/digest.h"
#include "engine/entries.h"
#include "engine/restore.h"

namespace steplog {
namespace {

constexpr std::size_t key_length_max = 240;  // leaves room for a generation

std::string text_in(const Json& data, const char* name) {
    const auto found = data.find(name);
    return found != data.end() && found->is_string() ? found->get<std::string>() : "";
}

bool flag_in(const Json& data, const char* name) {
    const auto found = data.find(name);
    return found != data.end() && found->is_boolean() && found->get<bool>();
}

std::int64_t number_in(const Json& data, const char* name) {
    const auto found = data.find(name);
    return found != data.end() && found->is_number_integer() ? found->get<std::int64_t>() : 0;
}

bool is_patch(const Entry& entry) {
    return entry.kind == EntryKind::recorded && flag_in(entry.data, "patched");
}

std::string shortened(const std::string& text, std::size_t room) {
    if (text.size() <= room) return text;
    constexpr std::size_t digits = 32;
    return text.substr(0, room - digits - 1) + "#" + to_hex(sha256(text)).substr(0, digits);
}

}  // namespace

void StepRecord::apply(const Entry& entry) {
    switch (entry.kind) {
        case EntryKind::started:
            if (number == 0 || entry.generation != generation || key_since_ms == 0)
                key_since_ms = entry.at_ms;
            generation = entry.generation;
            number = entry.attempt;
            ++attempts;
            if (trying_since_ms == 0) trying_since_ms = entry.at_ms;
            retry_at_ms = 0;
            if (entry.payload) request = entry.payload;
            doubt_before_ = (in_doubt || lost_since_ms > 0) && !flag_in(entry.data, "probed") &&
                            !flag_in(entry.data, "transact");
            if (lost_since_ms > 0) key_since_ms = std::min(key_since_ms, lost_since_ms);
            lost_since_ms = 0;
            in_doubt = true;
            remembered = false;
            decided = false;
            status = Status::started;
            break;
        case EntryKind::retried: {
            const bool interrupted = flag_in(entry.data, "interrupted");
            if (interrupted && attempts > 0) --attempts;
            if (text_in(entry.data, "outcome") == to_string(Outcome::refused))
                in_doubt = doubt_before_;
            remembered = flag_in(entry.data, "remembered");
            retry_at_ms = entry.at_ms + number_in(entry.data, "delay_ms");
            code = text_in(entry.data, "code");
            error = text_in(entry.data, "error");
            status = Status::retried;
            break;
        }
        case EntryKind::failed:
            in_doubt = false;
            lost_since_ms = 0;
            code = text_in(entry.data, "code");
            error = text_in(entry.data, "error");
            status = Status::failed;
            break;
        case EntryKind::resumed:
            if (status == Status::completed) break;
            decided = flag_in(entry.data, "decided");
            // Without an attempt of its own: it may have inherited one through a once key.
            if (status == Status::fresh) break;
            attempts = 0;
            trying_since_ms = 0;
            retry_at_ms = 0;
            // Refused for certain: the provider may have stored its refusal under the key.
            if (!in_doubt && status != Status::started) {
                ++generation;
                key_since_ms = 0;
            }
            if (status == Status::failed) status = Status::retried;
            break;
        case EntryKind::completed:
        case EntryKind::skipped:
            result = entry.payload;
            superseded = entry.data.contains("superseded");
            in_doubt = false;
            lost_since_ms = 0;
            status = Status::completed;
            break;
        default:
            break;
    }
}

void StepRecord::lose(std::int64_t since_ms) {
    if (status == Status::completed) return;
    decided = false;  // about what was known then
    lost_since_ms = lost_since_ms == 0 ? since_ms : std::min(lost_since_ms, since_ms);
}

void StepRecord::ask_anew() {
    if (status == Status::completed || in_doubt) return;
    request.reset();
    if (number == 0) return;
    ++generation;
    key_since_ms = 0;
}

StepLog::StepLog(const std::vector<Entry>& entries) {
    for (const Entry& entry : entries) apply(entry);
}

void StepLog::apply(const Entry& entry) {
    if (is_edited_input(entry)) {
        for (auto& [name, record] : steps) record.ask_anew();
        return;
    }
    if (entry.kind == EntryKind::resumed) {
        ++resumes;
        resumed_at = entry.n;
        failures = 0;
    }
    if (is_patch(entry)) {
        patches.try_emplace(entry.step, entry.n);
        return;
    }
    if (entry.kind == EntryKind::published) {
        ++published[entry.step];
        return;
    }
    if (!entry.step.empty()) begun.try_emplace(entry.step, entry.n);
    if (entry.kind == EntryKind::key) {
        keys.try_emplace(text_in(entry.data, "key"), entry.n);
    } else if (entry.kind == EntryKind::timer) {
        timers.insert_or_assign(entry.step, number_in(entry.data, "due_at_ms"));
    } else if (entry.kind == EntryKind::child) {
        const std::string id = text_in(entry.data, "child");
        if (const std::string ended = text_in(entry.data, "ended"); !ended.empty())
            child_ends[id] = {ended, text_in(entry.data, "code"), text_in(entry.data, "error"),
                              entry.payload};
        else
            children[entry.step] = {
                id, text_in(entry.data, "workflow"),
                text_in(entry.data, "on_close") == to_string(OnParentClose::await)};
    } else if (entry.kind == EntryKind::signal) {
        apply_signal(entry);
    } else if (entry.kind == EntryKind::recorded && !entry.step.empty()) {
        recorded.insert_or_assign(entry.step, entry.data.value("value", Json()));
    } else if (!entry.step.empty()) {
        step(entry.step).apply(entry);
    } else if (const auto since_ms = lost_since(entry)) {
        lost_since_ms_ = std::min(lost_since_ms_.value_or(*since_ms), *since_ms);
        for (auto& [name, record] : steps) record.lose(*since_ms);
    } else if (entry.kind == EntryKind::retried) {
        if (failures++ == 0) failing_since_ms = entry.at_ms;
    }
}

// An arrival stands for the whole instance; what became of a wait stands under the wait's name.
void StepLog::apply_signal(const Entry& entry) {
    if (entry.step.empty()) {
        signals.insert_or_assign(entry.n, entry.payload);
        return;
    }
    WaitRecord& wait = waits[entry.step];
    if (entry.data.contains("signal")) wait.signal = text_in(entry.data, "signal");
    wait.taken = number_in(entry.data, "took");
    wait.timed_out = flag_in(entry.data, "timed_out");
    if (entry.data.contains("until_ms")) wait.until_ms = number_in(entry.data, "until_ms");
}

StepRecord& StepLog::step(const std::string& name) {
    const auto [found, fresh] = steps.try_emplace(name);
    if (fresh && lost_since_ms_) found->second.lose(*lost_since_ms_);
    return found->second;
}

NewEntry patch_entry(const std::string& id) {
    return {.step = id, .kind = EntryKind::recorded, .data = {{"patched", true}}};
}

std::string idempotency_key(const std::string& prefix, const std::string& instance_id,
                            const std::string& step, int generation) {
    const std::string name = shortened(step, 80);
    const std::size_t room = key_length_max - prefix.size() - name.size() - 2;
    std::string key = fmt::format("{}:{}:{}", prefix, shortened(instance_id, room), name);
    if (generation > 0) key += fmt::format("/g{}", generation);
    return key;
}

std::string once_idempotency_key(const std::string& prefix, const std::string& once_key) {
    return fmt::format("{}:once:{}", prefix,
                       shortened(once_key, key_length_max - prefix.size() - 6));
}

}  // namespace steplog
