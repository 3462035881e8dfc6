// Once keys: who may begin an effect that happens once whoever asks, and what became of it.
#include <fmt/format.h>

#include "engine/once_record.h"
#include "engine/transitions.h"

namespace steplog {

std::optional<Hash> Transitions::hash_of(const std::optional<std::string>& payload) const {
    if (!payload) return std::nullopt;
    return keyed_hash(payload_hash_key_, *payload);
}

OnceVerdict Transitions::claim_once(Row& row, const OnceClaim& claim) {
    static const std::string sql =
        std::string("SELECT ") + once_record_columns + "FROM once_keys WHERE key IN (?,?)";
    std::optional<OnceRecord> known;
    {
        Query find(statements_, sql.c_str(), claim.key, name_it_may_have(claim.key));
        if (find.next()) known = read_once_record(find, payload_hash_key_);
    }
    if (!known || (known->whole && known->state == "free")) return begin_once(row, claim, known);
    const bool completed = known->state == "completed";
    Payloads::Body body;
    if (known->whole)
        body = completed ? read_once_payload(payloads_, known->result, known->result_hash,
                                             payload_hash_key_)
                         : read_once_payload(payloads_, known->request, known->request_hash,
                                             payload_hash_key_);
    OnceVerdict verdict{.idempotency_key = known->idempotency_key,
                        .first_attempt_at_ms = known->first_attempt_at_ms,
                        .instance_id = known->instance_id};
    if (!known->whole || body.damaged || body.sealed) {
        verdict.kind = OnceVerdict::Kind::damaged;
    } else if (completed) {
        verdict.kind = OnceVerdict::Kind::adopted;
        verdict.result = std::move(body.text);
    } else if (known->state == "claimed" && known->instance != row.seq) {
        verdict.kind = OnceVerdict::Kind::busy;
    } else {
        verdict.request = std::move(body.text);
        take_over_once(row, claim, *known, verdict);
    }
    return verdict;
}

// Nobody began it, or whoever did was refused: a request of our own, and after a refusal for good a
// new generation.
OnceVerdict Transitions::begin_once(Row& row, const OnceClaim& claim,
                                    const std::optional<OnceRecord>& refused) {
    const bool lost = claim.lost_since_ms > 0;
    OnceVerdict verdict{.idempotency_key = claim.idempotency_key,
                        .request = claim.request,
                        .first_attempt_at_ms = lost ? claim.lost_since_ms : now(),
                        .instance_id = row.id};
    if (lost) verdict.kind = OnceVerdict::Kind::inherited;
    if (refused && refused->generation > 0)
        verdict.idempotency_key += fmt::format("/g{}", refused->generation);
    if (refused)
        Query(statements_,
              "UPDATE once_keys SET key=?, state='claimed', instance=?, instance_id=?, step=?, "
              "idempotency_key=?, request=?, request_hash=?, first_attempt_at_ms=?, "
              "updated_at_ms=? WHERE key=?",
              claim.key, row.seq, row.id, claim.step, verdict.idempotency_key,
              write_payload(row, claim.request), hash_of(claim.request),
              verdict.first_attempt_at_ms, now(), refused->key)
            .run();
    else
        Query(statements_,
              "INSERT INTO once_keys(key,state,instance,instance_id,step,idempotency_key,request,"
              "request_hash,first_attempt_at_ms,updated_at_ms) "
              "VALUES (?,'claimed',?,?,?,?,?,?,?,?)",
              claim.key, row.seq, row.id, claim.step, verdict.idempotency_key,
              write_payload(row, claim.request), hash_of(claim.request),
              verdict.first_attempt_at_ms, now())
            .run();
    seal_once_record(statements_, payload_hash_key_, claim.key);
    return verdict;
}

// Ours, or let go while an attempt was in doubt. Inherited and not decided yet: instance_id still
// names whose attempt that is, so that a crash before the decision does not lose it.
void Transitions::take_over_once(Row& row, const OnceClaim& claim, const OnceRecord& known,
                                 OnceVerdict& verdict) {
    const bool let_go = known.state == "in_doubt";
    const bool undecided = let_go || known.instance_id != row.id;
    if (let_go)
        Query(statements_,
              "UPDATE once_keys SET key=?, state='claimed', instance=?, updated_at_ms=? WHERE "
              "key=?",
              claim.key, row.seq, now(), known.key)
            .run();
    if (undecided && !claim.decided) {
        verdict.kind = OnceVerdict::Kind::inherited;
    } else if (undecided) {
        Query(statements_,
              "UPDATE once_keys SET instance_id=?, step=?, updated_at_ms=? WHERE key=?", row.id,
              claim.step, now(), claim.key)
            .run();
        verdict.instance_id = row.id;
    }
    if (undecided) seal_once_record(statements_, payload_hash_key_, claim.key);
}

void Transitions::settle_once(const Row& row, const OnceSettle& settle) {
    // One that is damaged stays so: the outcome is recorded, and nothing is made of it.
    const bool whole = once_record_is_whole(statements_, payload_hash_key_, settle.key);
    int changed = 0;
    if (settle.completed) {
        changed =
            Query(statements_,
                  "UPDATE once_keys SET state='completed', result=?, result_hash=?, instance_id=?, "
                  "updated_at_ms=? WHERE key=? AND state='claimed' AND instance=?",
                  write_payload(row, settle.result), hash_of(settle.result), row.id, now(),
                  settle.key, row.seq)
                .run_counted();
    } else {
        // The next attempt brings a request of its own; nobody would ever look for this one.
        Query(statements_,
              "DELETE FROM payloads WHERE id=(SELECT request FROM once_keys WHERE key=? AND "
              "state='claimed' AND instance=?)",
              settle.key, row.seq)
            .run();
        changed = Query(statements_,
                        "UPDATE once_keys SET state='free', instance=NULL, request=NULL, "
                        "request_hash=NULL, generation=generation+?, updated_at_ms=? WHERE key=? "
                        "AND state='claimed' AND instance=?",
                        settle.for_good, now(), settle.key, row.seq)
                      .run_counted();
    }
    if (changed == 0)
        throw StoreError(StoreError::Kind::constraint,
                         fmt::format("{} does not hold its once key", row.id));
    if (whole) seal_once_record(statements_, payload_hash_key_, settle.key);
    wake_once_waiters(settle.key);
}

// An instance that ends while an attempt of its once key is open leaves that attempt in doubt: who
// takes the key over decides with the stored request.
void Transitions::let_go_of_once_keys(const Row& row) {
    while (true) {
        std::string key;
        {
            Query held(statements_,
                       "SELECT key FROM once_keys WHERE instance=? AND state='claimed' LIMIT 1",
                       row.seq);
            if (!held.next()) return;
            key = held.text(0);
        }
        const bool whole = once_record_is_whole(statements_, payload_hash_key_, key);
        Query(statements_, "UPDATE once_keys SET state='in_doubt', updated_at_ms=? WHERE key=?",
              now(), key)
            .run();
        if (whole) seal_once_record(statements_, payload_hash_key_, key);
        wake_once_waiters(key);
    }
}

bool Transitions::holds_once_key(const Row& row) {
    return Query(statements_, "SELECT 1 FROM once_keys WHERE instance=? AND state='claimed'",
                 row.seq)
        .next();
}

void Transitions::wake_once_waiters(const std::string& key) {
    Query(statements_,
          "UPDATE instances SET state='pending', due_at_ms=?, waits_for=NULL, waits_detail=NULL, "
          "updated_at_ms=? "
          "WHERE waits_for='once' AND waits_detail=?",
          now(), now(), key)
        .run();
}

}  // namespace steplog
