// Forgetting a customer: what bears their name loses it in one transaction. Payloads go, the data
// keys that sealed them are destroyed, ids become keyed hashes that still fold what is delivered
// again. What happened, when and how often stays, and the hash chains still verify.
#include <fmt/format.h>

#include <algorithm>

#include "engine/entries.h"
#include "engine/traces.h"
#include "engine/transitions.h"

namespace steplog {
namespace {

constexpr std::size_t word_length_max = 64;

// What an entry may go on saying: what happened, in the engine's and the providers' own words.
constexpr std::string_view kept_fields[] = {
    "provider", "code", "outcome", "delay_ms", "interrupted", "remembered", "adopted",
    "probed",   "by",   "was",     "decided",  "superseded",  "version"};

bool says_nothing(const Json& value) {
    if (value.is_boolean() || value.is_number()) return true;
    if (!value.is_string()) return false;
    const std::string& word = value.get_ref<const std::string&>();
    return word.size() <= word_length_max &&
           std::all_of(word.begin(), word.end(), [](unsigned char c) {
               return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == ':';
           });
}

std::string forgotten_data(const Hash& content, const std::string& data) {
    const Json said = Json::parse(data, nullptr, false);
    // By hand, because the hash must stand first: it is how the chain knows forgotten data.
    std::string kept = fmt::format(R"({{"forgotten":"{}")", to_hex(content));
    for (const std::string_view field : kept_fields) {
        if (!said.is_object()) break;
        const auto found = said.find(field);
        if (found != said.end() && says_nothing(*found))
            kept += fmt::format(R"(,"{}":{})", field, to_text(*found));
    }
    return kept + "}";
}

// One use: everything of one customer.
class Eraser {
  public:
    Eraser(Statements& statements, const Hash& secret, const std::string& subject,
           const Traces& traces, std::int64_t now_ms)
        : statements_(statements),
          secret_(secret),
          subject_(subject),
          traces_(traces),
          now_ms_(now_ms) {}

    /// Returns how many payloads are gone.
    int erase() {
        const int erased = erase_payloads();
        for (const std::int64_t seq : traces_.instances) rename_instance(seq);
        rename_events();
        rename_once_keys();
        rename_audit();
        return erased;
    }

  private:
    std::string renamed(const std::string& text) const { return forgotten_name(secret_, text); }
    std::optional<std::string> renamed_or_null(const std::string& text) const {
        return text.empty() ? std::nullopt : std::optional(renamed(text));
    }

    int erase_payloads() {
        std::set<std::int64_t> data_keys = traces_.data_keys;
        int erased = 0;
        for (const std::int64_t id : traces_.payloads) {
            {
                Query row(statements_, "SELECT data_key_id FROM payloads WHERE id=?", id);
                if (row.next() && !row.is_null(0)) data_keys.insert(row.integer(0));
            }
            erased += Query(statements_,
                            "UPDATE payloads SET body=NULL WHERE id=? AND body IS NOT NULL", id)
                          .run_counted();
        }
        for (const std::int64_t key : data_keys) destroy_data_key(key);
        // Remembers without encryption too that this name was forgotten.
        Query(statements_,
              "INSERT INTO data_keys(subject,created_at_ms,destroyed_at_ms) VALUES (?,?,?) "
              "ON CONFLICT(subject) DO UPDATE SET destroyed_at_ms=excluded.destroyed_at_ms",
              renamed(subject_), now_ms_, now_ms_)
            .run();
        return erased;
    }

    // The customer's own key goes in any case; another that others' payloads need stays.
    void destroy_data_key(std::int64_t key) {
        std::string whose;
        {
            Query row(statements_,
                      "SELECT subject FROM data_keys WHERE id=? AND wrapped_key IS NOT NULL", key);
            if (!row.next()) return;
            whose = row.text(0);
        }
        if (!traces_.data_keys.contains(key)) {
            Query others(statements_,
                         "SELECT 1 FROM payloads WHERE data_key_id=? AND body IS NOT NULL LIMIT 1",
                         key);
            if (others.next()) return;
        }
        Query(statements_,
              "UPDATE data_keys SET wrapped_key=NULL, wrapping_key_id=NULL, destroyed_at_ms=?, "
              "subject=? "
              "WHERE id=?",
              now_ms_, fmt::format("{}/{}", renamed(whose), key), key)
            .run();
    }

    void rename_instance(std::int64_t seq) {
        struct Words {
            std::int64_t seq;
            std::string step, data;
        };
        std::vector<Words> entries;
        {
            Query log(statements_, "SELECT seq, step, data FROM entries WHERE instance=?", seq);
            while (log.next()) entries.push_back({log.integer(0), log.text(1), log.text(2)});
        }
        for (const Words& entry : entries) {
            const Hash content = content_hash(secret_, entry.step, entry.data);
            Query(statements_, "UPDATE entries SET step=?, data=? WHERE seq=?",
                  named_step(entry.step), forgotten_data(content, entry.data), entry.seq)
                .run();
        }
        std::string id, key, step;
        {
            Query row(statements_, "SELECT id, key, step FROM instances WHERE seq=?", seq);
            if (!row.next()) return;
            id = row.text(0), key = row.text(1), step = row.text(2);
        }
        Query(statements_,
              "UPDATE instances SET id=?, key=?, step=?, error=NULL, waits_detail=NULL WHERE seq=?",
              renamed(id), renamed_or_null(key), or_null(named_step(step)), seq)
            .run();
        delete_signals(statements_, seq);
    }

    // A step's name is the code's own word, unless somebody put an id into it.
    std::string named_step(const std::string& step) const {
        return traces_.named_in(step) ? renamed(step) : step;
    }

    void rename_events() {
        for (const std::int64_t seq : traces_.events) {
            std::string id, subject;
            {
                Query row(statements_, "SELECT id, subject FROM events WHERE seq=?", seq);
                if (!row.next()) continue;
                id = row.text(0), subject = row.text(1);
            }
            Query(statements_, "UPDATE events SET id=?, subject=? WHERE seq=?", renamed(id),
                  renamed_or_null(subject), seq)
                .run();
        }
    }

    // One in doubt stays in doubt, and its provider's memory of the key counts as over: nobody can
    // say any more what was sent.
    void rename_once_keys() {
        for (const std::string& key : traces_.once_keys) {
            const bool whole = once_record_is_whole(statements_, secret_, key);
            std::string instance_id, idempotency_key, step;
            {
                Query row(statements_,
                          "SELECT instance_id, idempotency_key, step FROM once_keys WHERE key=?",
                          key);
                if (!row.next()) continue;
                instance_id = row.text(0), idempotency_key = row.text(1), step = row.text(2);
            }
            Query(statements_,
                  "UPDATE once_keys SET key=?, instance_id=?, idempotency_key=?, step=?, "
                  "first_attempt_at_ms=0 WHERE key=?",
                  renamed(key), renamed(instance_id), renamed(idempotency_key), named_step(step),
                  key)
                .run();
            if (whole) seal_once_record(statements_, secret_, renamed(key));
        }
    }

    void rename_audit() {
        std::vector<std::pair<std::int64_t, std::string>> rows;
        {
            Query read(statements_, "SELECT seq, target, detail FROM audit");
            while (read.next())
                if (traces_.named_in(read.text(1)) || traces_.named_in(read.text(2)))
                    rows.emplace_back(read.integer(0), read.text(1));
        }
        for (const auto& [seq, target] : rows)
            Query(statements_,
                  R"(UPDATE audit SET target=?, detail='{"forgotten":true}' WHERE seq=?)",
                  renamed(target), seq)
                .run();
    }

    Statements& statements_;
    const Hash& secret_;
    const std::string& subject_;
    const Traces& traces_;
    const std::int64_t now_ms_;
};

}  // namespace

Forgotten Transitions::forget(const ForgetRequest& request) {
    Forgotten forgotten{.name = forgotten_name(payload_hash_key_, request.subject)};
    {
        Query before(statements_, "SELECT 1 FROM data_keys WHERE subject=?", forgotten.name);
        forgotten.before = before.next();
    }
    const Traces traces = find_traces(statements_, payloads_, request.subject);
    forgotten.unfinished = traces.unfinished;
    forgotten.events = static_cast<int>(traces.events.size());
    forgotten.instances = static_cast<int>(traces.instances.size());
    forgotten.once_keys = static_cast<int>(traces.once_keys.size());
    if (!traces.unfinished.empty() || traces.empty() || request.plan) return forgotten;

    forgotten.payloads =
        Eraser(statements_, payload_hash_key_, request.subject, traces, now()).erase();
    forgotten.done = true;
    forgotten.words.assign(traces.words.begin(), traces.words.end());
    Query(statements_,
          "INSERT INTO meta(name,value) VALUES ('forgotten',1) ON CONFLICT(name) DO UPDATE SET "
          "value=CAST(meta.value AS BIGINT)+1")
        .run();
    audit(request.actor, "forget", forgotten.name,
          {{"events", forgotten.events},
           {"instances", forgotten.instances},
           {"once_keys", forgotten.once_keys},
           {"payloads", forgotten.payloads},
           {"reason", traces.named_in(request.reason) ? "" : request.reason}});
    anything_forgotten_ = true;
    return forgotten;
}

}  // namespace steplog
