// Claiming: which due instances a worker gets, with a log that verifies.
#include <fmt/format.h>

#include "engine/entries.h"
#include "engine/transitions.h"

namespace steplog {
namespace {

constexpr int deaths_until_alone = 3;  // in a row: from then on it runs with the house to itself
constexpr int deaths_until_stuck = 5;
constexpr int looks_max = 100;  // in one transaction

}  // namespace

struct Transitions::Due {
    Row row;
    std::string workflow;
    int version = 1;
    std::int64_t epoch = 0;
    int deaths = 0;
    OnStuck on_stuck = OnStuck::keep_key;
    bool asked_to_end = false;
    std::string parked_for;   // what its due time is the end of: a breaker's patience, or its turn
    bool cancelling = false;  // …after what it has finished is taken back
    bool asked_to_pause = false;
    std::int64_t created_at_ms = 0;
    std::string state;
    int priority = 0;
    std::optional<std::int64_t> deadline_ms;
    std::optional<std::int64_t> input_payload;
    Hash input_hash{};
};

// Those of the highest priority first, among those within the window at either end of what is due:
// whatever fresh comes is seen at once, and the rest while the line moves on.
std::vector<Transitions::Due> Transitions::read_due(int limit) {
    static const std::string columns =
        "SELECT seq, id, key, holds_key, step, log_length, log_hash, workflow, version, epoch, "
        "deaths + CASE WHEN state='running' THEN 1 ELSE 0 END, on_stuck, created_at_ms, "
        "input_payload, input_hash, "
        "cancel_requested_at_ms, CASE WHEN waits_for='circuit' THEN waits_detail END, state, "
        "priority, "
        "deadline_ms, waits_for='pause' FROM instances WHERE ";
    static const std::string claimable = "due_at_ms<=?1 AND NOT (state='running' AND owner=?2) ";
    static const std::string in_order = columns + claimable + "ORDER BY due_at_ms LIMIT ?3";
    static const std::string within =
        "SELECT seq FROM (SELECT seq FROM instances WHERE " + claimable + "ORDER BY due_at_ms ";
    static const std::string by_priority =
        columns + "seq IN (" + within + "LIMIT ?4) AS longest UNION " + within +
        "DESC LIMIT ?4) AS latest) ORDER BY priority DESC, due_at_ms, seq LIMIT ?3";
    Query read = any_priority_ ? Query(statements_, by_priority.c_str(), now(), owner_, limit,
                                       std::max(limit, claim_window))
                               : Query(statements_, in_order.c_str(), now(), owner_, limit);
    std::vector<Due> due;
    while (read.next()) {
        Due& found = due.emplace_back();
        found.row = {read.integer(0), read.text(1),    read.text(2), read.integer(3) != 0,
                     read.text(4),    read.integer(5), read.hash(6)};
        found.workflow = read.text(7);
        found.version = static_cast<int>(read.integer(8));
        found.epoch = read.integer(9);
        found.deaths = static_cast<int>(read.integer(10));
        found.on_stuck = parse_on_stuck(read.text(11)).value_or(OnStuck::keep_key);
        found.created_at_ms = read.integer(12);
        found.input_payload = read.maybe_integer(13);
        found.input_hash = read.hash(14);
        found.asked_to_end = !read.is_null(15);
        found.parked_for = read.text(16);
        found.state = read.text(17);
        found.priority = static_cast<int>(read.integer(18));
        found.deadline_ms = read.maybe_integer(19);
        found.asked_to_pause = read.integer(20) != 0;
    }
    return due;
}

// Of what would run now, what is paused leaves the due ones, so that it is met once. True when
// there was some.
bool Transitions::hold_paused(std::vector<Due>& due) {
    const std::set<std::string> workflows = paused_workflows();
    return std::erase_if(due, [&](const Due& found) {
               const bool ends = found.asked_to_end || found.deaths >= deaths_until_stuck;
               if (ends || (!found.asked_to_pause && !workflows.contains(found.workflow)))
                   return false;
               Query(statements_, "UPDATE instances SET deaths=? WHERE seq=?", found.deaths,
                     found.row.seq)
                   .run();
               hold(found.row.seq, !found.asked_to_pause);
               return true;
           }) > 0;
}

// One look at what is due. True when nothing could be claimed because all of it must wait for room,
// or is paused.
bool Transitions::claim_due(const ClaimRequest& request, ClaimResult& result) {
    std::vector<Due> due = read_due(request.limit);
    for (Due& found : due) {
        if (found.asked_to_end || !found.deadline_ms || *found.deadline_ms > now()) continue;
        ask_past_deadline(found.row, found.state);
        found.asked_to_end = true;
        found.parked_for.clear();
    }
    for (Due& found : due) {
        found.cancelling = found.asked_to_end && can_take_back(found.row);
        found.asked_to_end = found.asked_to_end && !found.cancelling;
    }
    const bool paused = hold_paused(due);
    for (const Due& found : due)
        if (found.deaths >= deaths_until_alone && found.deaths < deaths_until_stuck &&
            !found.asked_to_end)
            result.solo = true;
    bool some_ended = false, parked = false;
    for (Due& found : due) {
        if (some_ended && !is_due(found.row.seq)) continue;  // it has gone with its parent
        if (found.asked_to_end) {
            end_as_asked(found.row);
            some_ended = true;
            continue;
        }
        if (found.deaths >= deaths_until_stuck) {
            make_stuck(
                found, "poison",
                fmt::format(
                    "the server died {} times in a row while this instance ran, without any step "
                    "coming to an end; find out why before resuming it",
                    found.deaths));
            continue;
        }
        const bool suspect = found.deaths >= deaths_until_alone;
        if (result.solo && (!suspect || request.busy > 0 || !result.claimed.empty())) continue;
        if (park_without_room(found, request)) {
            parked = true;
            continue;
        }
        result.claimed.push_back(take(found));
    }
    return (parked || paused) && result.claimed.empty() && !result.solo;
}

ClaimResult Transitions::take_due(const ClaimRequest& request) {
    ClaimResult result;
    result.schedules = decide_schedules();
    if (any_breaker_) act_breakers(request.flow, result.breakers);
    if (any_slot_) wake_where_room(request);
    if (any_rate_) give_turns(request);
    // Where all that came first must wait, those behind them have their turn.
    for (int looks = 0; looks < looks_max && claim_due(request, result); ++looks) {
    }
    return result;
}

ClaimResult Transitions::claim(const ClaimRequest& request) {
    ClaimResult result;
    if (request.limit > 0) result = take_due(request);
    Query next(statements_,
               "SELECT due_at_ms FROM instances WHERE due_at_ms<=9223372036854775807 AND NOT "
               "(state='running' AND owner=?) "
               "ORDER BY due_at_ms LIMIT 1",  // a text, in a damaged index, is no time
               owner_);
    if (next.next()) result.next_due_ms = next.integer(0);
    for (const auto& other : {next_schedule_due_ms(), next_breaker_due_ms(), next_turn_ms(request)})
        if (other && (!result.next_due_ms || *other < *result.next_due_ms))
            result.next_due_ms = other;
    return result;
}

// True when it must wait: as many instances of its workflow run as may, or it is not yet its turn
// to begin.
bool Transitions::park_without_room(Due& due, const ClaimRequest& request) {
    if (!request.flow || !request.flow->limits_workflow(due.workflow)) return false;
    const WorkflowPolicy& policy = request.flow->of_workflow(due.workflow);
    const Limit rate{Limit::Kind::rate, LimitOf::workflow, due.workflow};
    const bool begins = due.epoch == 0 && due.parked_for != rate.detail();
    std::string wait;
    if (!has_room(LimitOf::workflow, due.workflow, policy.running_max))
        wait = Limit{Limit::Kind::slot, LimitOf::workflow, due.workflow}.detail();
    else if (begins && waits_for_turn(LimitOf::workflow, due.workflow, policy.rate))
        wait = rate.detail();
    if (!wait.empty()) {
        apply(due.row,
              {.to = State::sleeping, .waits_for = WaitsFor::circuit, .waits_detail = wait});
        return true;
    }
    if (policy.running_max > 0) take_slot(LimitOf::workflow, due.workflow, due.row.seq, "");
    if (begins) take_turns(LimitOf::workflow, due.workflow, policy.rate, 1);
    return false;
}

bool Transitions::is_due(std::int64_t seq) {
    return Query(statements_, "SELECT 1 FROM instances WHERE seq=? AND due_at_ms<=?", seq, now())
        .next();
}

Claimed Transitions::take(const Due& due) {
    if (any_debounce_ && due.epoch == 0) forget_debounce(due.row.seq);
    Query(statements_,
          "UPDATE instances SET state='running', owner=?, epoch=epoch+1, due_at_ms=?, "
          "waits_for=NULL, "
          "waits_detail=NULL, deaths=?, updated_at_ms=? WHERE seq=?",
          owner_, now() + lease_ms_, due.deaths, now(), due.row.seq)
        .run();
    Claimed claimed = read_whole(due);
    ++claimed.epoch;
    return claimed;
}

// As its workflow's function would be given it.
Claimed Transitions::read_whole(const Due& due) {
    Claimed claimed;
    claimed.seq = due.row.seq;
    claimed.id = due.row.id;
    claimed.workflow = due.workflow;
    claimed.version = due.version;
    claimed.epoch = due.epoch;
    claimed.key = due.row.key;
    claimed.on_stuck = due.on_stuck;
    claimed.deaths = due.deaths;
    claimed.cancelling = due.cancelling;
    (parse_limit(due.parked_for) ? claimed.turn : claimed.gave_up_on) = due.parked_for;
    claimed.created_at_ms = due.created_at_ms;
    claimed.deadline_ms = due.deadline_ms;
    claimed.priority = due.priority;
    Payloads::Body input = payloads_.read(due.input_payload);
    claimed.input = std::move(input.text);
    if (input.sealed || input.damaged) claimed.damage = "its input does not open with its key";
    if (claimed.input && keyed_hash(payload_hash_key_, *claimed.input) != due.input_hash)
        claimed.damage = "its input is not what was accepted";
    load_log(claimed, due);
    for (const Entry& entry : claimed.log)
        if (is_edited_input(entry)) claimed.input = entry.payload;
    return claimed;
}

Claimed Transitions::look_at(std::int64_t seq) {
    Due due;
    {
        Query read(
            statements_,
            "SELECT seq, id, key, holds_key, step, log_length, log_hash, workflow, version, "
            "epoch, on_stuck, created_at_ms, input_payload, input_hash, priority FROM instances "
            "WHERE seq=?",
            seq);
        read.next();
        due.row = {read.integer(0), read.text(1),    read.text(2), read.integer(3) != 0,
                   read.text(4),    read.integer(5), read.hash(6)};
        due.workflow = read.text(7);
        due.version = static_cast<int>(read.integer(8));
        due.epoch = read.integer(9);
        due.on_stuck = parse_on_stuck(read.text(10)).value_or(OnStuck::keep_key);
        due.created_at_ms = read.integer(11);
        due.input_payload = read.maybe_integer(12);
        due.input_hash = read.hash(13);
        due.priority = static_cast<int>(read.integer(14));
    }
    return read_whole(due);
}

void Transitions::load_log(Claimed& claimed, const Due& due) {
    Hash head = genesis_hash(payload_hash_key_, due.row.id, due.workflow, due.input_hash);
    Query read(statements_,
               "SELECT e.n, e.step, e.kind, e.attempt, e.generation, e.at_ms, e.data, "
               "e.payload_hash, e.hash, e.payload, p.body, p.data_key_id FROM entries e LEFT JOIN "
               "payloads p ON p.id=e.payload WHERE e.instance=? "
               "ORDER BY e.n",
               due.row.seq);
    while (read.next()) {
        Entry entry;
        entry.n = read.integer(0);
        entry.step = read.text(1);
        const std::string kind = read.text(2);
        entry.attempt = static_cast<int>(read.integer(3));
        entry.generation = static_cast<int>(read.integer(4));
        entry.at_ms = read.integer(5);
        const std::string data = read.text(6);
        std::optional<Hash> payload_hash;
        if (!read.is_null(7)) payload_hash = read.hash(7);
        Payloads::Body payload =
            payloads_.open(read.integer(9), read.maybe_text(10), read.maybe_integer(11));
        entry.payload = std::move(payload.text);
        head = chain_hash(head, entry.n, content_hash(payload_hash_key_, entry.step, data), kind,
                          entry.attempt, entry.generation, entry.at_ms, payload_hash);
        const bool whole =
            entry.n == static_cast<std::int64_t>(claimed.log.size()) + 1 && head == read.hash(8) &&
            !payload.sealed && !payload.damaged &&
            (!entry.payload ||
             (payload_hash && keyed_hash(payload_hash_key_, *entry.payload) == *payload_hash));
        entry.kind = parse_entry_kind(kind).value_or(EntryKind::recorded);
        entry.data = Json::parse(data, nullptr, false);
        if (claimed.damage.empty() && (!whole || !entry.data.is_object()))
            claimed.damage = fmt::format("entry {} of its log is not what was written", entry.n);
        claimed.log.push_back(std::move(entry));
    }
    if (claimed.damage.empty() &&
        (static_cast<std::int64_t>(claimed.log.size()) != due.row.log_length ||
         head != due.row.log_hash))
        claimed.damage = "the end of its log is missing";
}

void Transitions::make_stuck(const Due& due, const std::string& code, const std::string& message) {
    Row row = due.row;
    append(
        row,
        {.step = row.step, .kind = EntryKind::stuck, .data = {{"code", code}, {"error", message}}});
    Query(statements_, "UPDATE instances SET log_length=?, log_hash=?, deaths=? WHERE seq=?",
          row.log_length, row.log_hash, due.deaths, row.seq)
        .run();
    apply(row, {.to = State::stuck, .error_code = code, .error = message});
}

}  // namespace steplog
