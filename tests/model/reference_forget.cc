// What forgetting a customer does to what a store must contain.
#include <fmt/format.h>

#include <algorithm>

#include "engine/entries.h"
#include "engine/run_id.h"
#include "engine/traces.h"
#include "tests/model/reference.h"

namespace steplog::testing {
namespace {

constexpr std::size_t unfinished_listed_max = 100;

bool ends_in(const std::string& text, char before, const std::string& name) {
    return text == name || text.ends_with(before + name);
}

// Only what nobody can have put a name into goes on being said.
bool says_nothing(const Json& value) {
    if (!value.is_string()) return value.is_boolean() || value.is_number();
    const auto word = value.get<std::string>();
    return word.size() <= 64 &&
           word.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_:") == word.npos;
}

std::string forgotten_data(const std::string& step, const std::string& data) {
    const Json said = parse_stored(data);
    std::string kept =
        R"({"forgotten":")" + to_hex(content_hash(simulated_secret(), step, data)) + "\"";
    for (const char* field :
         {"provider", "code", "outcome", "delay_ms", "interrupted", "remembered", "adopted",
          "probed", "by", "was", "decided", "superseded", "version"})
        if (said.contains(field) && says_nothing(said[field]))
            kept += fmt::format(R"(,"{}":{})", field, to_text(said[field]));
    return kept + "}";
}

int erase(std::optional<std::string>& payload) {
    const int erased = payload.has_value();
    payload.reset();
    return erased;
}

}  // namespace

struct Reference::Traces {
    std::set<std::int64_t> instances, data_keys;
    std::set<EventId> events;
    std::set<std::string> once_keys, words;

    bool named_in(const std::string& text) const {
        return std::any_of(words.begin(), words.end(),
                           [&](const std::string& word) { return holds_word(text, word); });
    }
    std::string named(const std::string& text) const {
        return named_in(text) ? forgotten_name(text) : text;
    }
};

void Reference::find_by_name(const std::string& name, bool is_customer, Traces& traces) const {
    for (const auto& [seq, instance] : instances_)
        if (ends_in(instance.key, ':', name) ||
            ("/" + instance.id + "/").find("/" + name + "/") != std::string::npos)
            traces.instances.insert(seq);
    // What stood for the customer may have stood for others too.
    for (const auto& [id, event] : events_) {
        if (event.subject != name) continue;
        if (!is_customer && event.instance && !traces.instances.contains(*event.instance)) continue;
        traces.events.insert(id);
        if (event.instance) traces.instances.insert(*event.instance);
    }
    for (const auto& [key, once] : once_keys_)
        if (ends_in(key, '/', name)) traces.once_keys.insert(key);
}

// The customer's own, and whoever was accepted under the name.
void Reference::find_data_keys(const std::string& subject, Traces& traces) const {
    for (std::size_t number = 0; number < data_keys_.size(); ++number) {
        const ReferenceDataKey& key = data_keys_[number];
        if (key.master.empty() || !ends_in(key.subject, ':', subject)) continue;
        const auto sealing = static_cast<std::int64_t>(number);
        traces.data_keys.insert(sealing);
        for (const auto& [seq, instance] : instances_)
            if (instance.input_sealed_by == sealing) traces.instances.insert(seq);
    }
}

void Reference::find_children(Traces& traces) const {
    std::size_t known = 0;
    while (known != traces.instances.size()) {
        known = traces.instances.size();
        std::set<std::string> ids;
        for (const std::int64_t seq : traces.instances)
            if (const auto there = instances_.find(seq); there != instances_.end())
                ids.insert(first_run(there->second.id));
        for (const auto& [seq, instance] : instances_) {
            const bool is_child = instance.parent && traces.instances.contains(*instance.parent);
            const auto mark = instance.id.find("/run:");
            const bool is_run =
                ids.contains(first_run(instance.id)) ||
                (mark != std::string::npos && ids.contains(instance.id.substr(0, mark)));
            if (is_child || is_run) traces.instances.insert(seq);
        }
    }
}

// Whatever else those data keys have sealed.
void Reference::find_sealed(Traces& traces) const {
    const auto seals = [&](const auto& payload, const auto& sealed_by) {
        return payload && sealed_by && traces.data_keys.contains(*sealed_by);
    };
    for (const auto& [seq, instance] : instances_) {
        bool sealed = seals(instance.output, instance.output_sealed_by);
        for (const ReferenceEntry& entry : instance.log)
            sealed = sealed || seals(entry.payload, entry.sealed_by);
        if (sealed) traces.instances.insert(seq);
    }
    for (const auto& [id, event] : events_)
        if (event.body_kept && event.sealed_by && traces.data_keys.contains(*event.sealed_by))
            traces.events.insert(id);
    for (const auto& [key, once] : once_keys_)
        if (seals(once.request, once.request_sealed_by) ||
            seals(once.result, once.result_sealed_by))
            traces.once_keys.insert(key);
    find_children(traces);
    find_events_of(traces);
}

// Returns whom the events are about.
std::set<std::string> Reference::find_events_of(Traces& traces) const {
    std::set<std::string> subjects;
    for (const auto& [id, event] : events_) {
        if (event.instance && traces.instances.contains(*event.instance)) traces.events.insert(id);
        if (!traces.events.contains(id)) continue;
        traces.words.insert(id.second);
        if (!event.subject.empty()) subjects.insert(event.subject);
    }
    traces.words.insert(subjects.begin(), subjects.end());
    return subjects;
}

Reference::Traces Reference::find_traces(const std::string& subject) const {
    Traces traces;
    find_by_name(subject, true, traces);
    find_data_keys(subject, traces);
    for (const std::string& other : find_events_of(traces))
        if (other != subject && !is_forgotten_name(other)) find_by_name(other, false, traces);
    find_children(traces);
    find_events_of(traces);
    for (const auto& [id, event] : events_) {
        const bool holds = event.disposition != "routed" && event.subject.empty() &&
                           event.body_kept && holds_word(event.body, subject);
        if (!holds) continue;
        traces.events.insert(id);
        traces.words.insert(id.second);
    }
    find_sealed(traces);
    for (const auto& [seq, instance] : instances_)
        if (traces.instances.contains(seq)) traces.words.insert(instance.id);
    for (const auto& [key, once] : once_keys_)
        if (once.instance && instances_.contains(*once.instance) &&
            traces.instances.contains(*once.instance))
            traces.once_keys.insert(key);
    traces.words.insert(subject);
    std::erase_if(traces.words, [](const std::string& word) { return is_forgotten_name(word); });
    return traces;
}

std::vector<std::string> Reference::unfinished(const Traces& traces) const {
    std::set<std::int64_t> theirs = traces.instances;
    for (const std::string& key : traces.once_keys)
        if (const ReferenceOnce& once = once_keys_.at(key); once.state == "claimed")
            theirs.insert(*once.instance);
    std::vector<std::string> ids;
    for (const auto& [seq, instance] : instances_)
        if (theirs.contains(seq) && !is_finished(instance.state) &&
            ids.size() < unfinished_listed_max)
            ids.push_back(instance.id);
    return ids;
}

Forgotten Reference::forget(const ForgetRequest& request) {
    Forgotten forgotten{.name = forgotten_name(request.subject)};
    forgotten.before = std::any_of(data_keys_.begin(), data_keys_.end(),
                                   [&](const auto& key) { return key.subject == forgotten.name; });
    const Traces traces = find_traces(request.subject);
    forgotten.unfinished = unfinished(traces);
    forgotten.events = static_cast<int>(traces.events.size());
    forgotten.instances = static_cast<int>(traces.instances.size());
    forgotten.once_keys = static_cast<int>(traces.once_keys.size());
    const bool nothing = traces.events.empty() && traces.instances.empty() &&
                         traces.once_keys.empty() && traces.data_keys.empty();
    if (nothing || request.plan || !forgotten.unfinished.empty()) return forgotten;
    forgotten.payloads = erase_payloads(traces, request.subject);
    rename_all(traces);
    forgotten.done = true;
    ++audited_;
    return forgotten;
}

// The payloads, and the data keys that sealed them and nothing else.
int Reference::erase_payloads(const Traces& traces, const std::string& subject) {
    int erased = 0;
    std::set<std::int64_t> data_keys = traces.data_keys;
    const auto take = [&](std::optional<std::string>& payload,
                          const std::optional<std::int64_t>& sealed_by) {
        if (sealed_by) data_keys.insert(*sealed_by);
        erased += erase(payload);
    };
    for (auto& [seq, instance] : instances_) {
        if (!traces.instances.contains(seq)) continue;
        if (instance.own_input) take(instance.input, instance.input_sealed_by);
        instance.input.reset();
        take(instance.output, instance.output_sealed_by);
        for (ReferenceEntry& entry : instance.log) take(entry.payload, entry.sealed_by);
    }
    for (const EventId& id : traces.events) {
        ReferenceEvent& event = events_.at(id);
        erased += std::exchange(event.body_kept, false);
        if (event.sealed_by) data_keys.insert(*event.sealed_by);
    }
    for (const std::string& key : traces.once_keys) {
        ReferenceOnce& once = once_keys_.at(key);
        take(once.request, once.request_sealed_by);
        take(once.result, once.result_sealed_by);
    }
    for (const std::int64_t number : data_keys) destroy_data_key(number, traces);
    const std::string name = forgotten_name(subject);
    const bool known = std::any_of(data_keys_.begin(), data_keys_.end(),
                                   [&](const auto& key) { return key.subject == name; });
    if (!known) data_keys_.push_back({name, ""});
    return erased;
}

void Reference::destroy_data_key(std::int64_t number, const Traces& traces) {
    ReferenceDataKey& key = data_keys_.at(static_cast<std::size_t>(number));
    if (key.master.empty() || (!traces.data_keys.contains(number) && is_used(number))) return;
    key.subject = fmt::format("{}/{}", forgotten_name(key.subject), number + 1);
    key.master.clear();
}

bool Reference::is_used(std::int64_t data_key) const {
    const auto seals = [&](const auto& payload, const auto& sealed_by) {
        return payload && sealed_by == data_key;
    };
    return std::any_of(schedules_.begin(), schedules_.end(),
                       [&](const auto& row) { return row.second.input_sealed_by == data_key; }) ||
           std::any_of(events_.begin(), events_.end(),
                       [&](const auto& row) {
                           return row.second.body_kept && row.second.sealed_by == data_key;
                       }) ||
           std::any_of(once_keys_.begin(), once_keys_.end(),
                       [&](const auto& row) {
                           return seals(row.second.request, row.second.request_sealed_by) ||
                                  seals(row.second.result, row.second.result_sealed_by);
                       }) ||
           std::any_of(instances_.begin(), instances_.end(), [&](const auto& row) {
               const Instance& instance = row.second;
               return seals(instance.input, instance.input_sealed_by) ||
                      seals(instance.output, instance.output_sealed_by) ||
                      std::any_of(instance.log.begin(), instance.log.end(),
                                  [&](const ReferenceEntry& entry) {
                                      return seals(entry.payload, entry.sealed_by);
                                  });
           });
}

void Reference::rename_all(const Traces& traces) {
    for (auto& [seq, instance] : instances_) {
        if (!traces.instances.contains(seq)) continue;
        for (ReferenceEntry& entry : instance.log) {
            entry.data = forgotten_data(entry.step, entry.data);
            entry.step = traces.named(entry.step);
        }
        instance.id = forgotten_name(instance.id);
        if (!instance.key.empty()) instance.key = forgotten_name(instance.key);
        instance.step = traces.named(instance.step);
        instance.error.clear();
        instance.waits_detail.clear();
        instance.signals.clear();
    }
    for (const EventId& id : traces.events) {
        auto row = events_.extract(id);
        row.key().second = forgotten_name(id.second);
        ReferenceEvent& event = row.mapped();
        if (!event.subject.empty()) event.subject = forgotten_name(event.subject);
        std::replace(arrivals_.begin(), arrivals_.end(), id, row.key());
        events_.insert(std::move(row));
    }
    for (const std::string& key : traces.once_keys) {
        auto row = once_keys_.extract(key);
        row.key() = forgotten_name(key);
        ReferenceOnce& once = row.mapped();
        once.instance_id = forgotten_name(once.instance_id);
        once.idempotency_key = forgotten_name(once.idempotency_key);
        once.step = traces.named(once.step);
        once.first_attempt_at_ms = 0;
        once_keys_.insert(std::move(row));
    }
}

}  // namespace steplog::testing
