#include "tests/support/damage_rig.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "engine/inspect.h"

namespace steplog::testing {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t built_at_ms = 1'793'520'000'000;

std::string file_text(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

void write_file(const fs::path& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

NewEvent event(const std::string& id, const Json& body) {
    return {.source = "shop",
            .id = id,
            .type = "order.paid",
            .subject = body.value("who", ""),
            .reason = "",
            .body = body.dump()};
}

NewInstance instance(const std::string& id, const std::string& key) {
    return {.id = "order/" + id, .workflow = "order", .key = key, .input = {}};
}

/// The moment has come: what follows is lost.
struct Died {};

}  // namespace

bool DamageVerdict::noticed() const {
    if (!found.empty() || !refused.empty() || !failed.empty()) return true;
    for (const auto& [id, end] : ends)
        if (end == "stuck log_damaged") return true;
    return false;
}

std::string DamageVerdict::broken_promise() const {
    if (!altered.empty()) return "a call with altered input: " + *altered.begin();
    if (inspect_wrote) return "inspect changed a byte";
    if (!noticed() && !same_end) return "damage with an effect that nobody noticed";
    return "";
}

DamageRig::DamageRig() {
    clock_.set_ms(built_at_ms);
    build();
    for (const auto* files : {&crashed_, &backup_}) {
        const DamageVerdict whole = judge(*files);
        if (!whole.found.empty() || !whole.refused.empty() || !whole.failed.empty())
            throw std::logic_error("the undamaged database is not whole: " + whole.refused +
                                   whole.failed);
        allowed_.insert(calls_.begin(), calls_.end());
        if (!expected_.empty() && expected_ != whole.ends)
            throw std::logic_error("a backup ends otherwise than its original");
        expected_ = whole.ends;
    }
}

Registry DamageRig::registry() {
    Registry registry;
    registry.add({.name = "order",
                  .run = [this](Context& ctx, const Json& input) { return order(ctx, input); }});
    return registry;
}

Json DamageRig::effect(const Attempt& attempt, const std::string& step, const Json& input,
                       const Json& before) {
    calls_.insert(fmt::format("{} {} {} input {} before {} request {}", attempt.instance_id, step,
                              attempt.idempotency_key, input.dump(), before.dump(),
                              attempt.request.dump()));
    if (trouble_) trouble_(attempt.instance_id, step);
    return {{"done", step + " for " + input.value("who", "")}};
}

// Kinds of step: repeatable, under a key that the provider honours, once whoever asks.
Json DamageRig::order(Context& ctx, const Json& input) {
    Json before = Json::array();
    before.push_back(ctx.step("reserve", [&](const Attempt& attempt) {
        return effect(attempt, "reserve", input, before);
    }));
    before.push_back(
        ctx.step("charge", {.provider = "bank", .idempotency_window = std::chrono::hours(24)},
                 [&](const Attempt& attempt) { return effect(attempt, "charge", input, before); }));
    before.push_back(
        ctx.step("notify",
                 {.provider = "mail",
                  .repeat = Repeat::at_most_once,
                  .idempotency_window = std::chrono::hours(23),
                  .once = "notify/" + input.value("who", ""),
                  .request = {{"to", input.value("who", "")}, {"order", ctx.instance_id()}}},
                 [&](const Attempt& attempt) { return effect(attempt, "notify", input, before); }));
    before.push_back(ctx.step(
        "close", [&](const Attempt& attempt) { return effect(attempt, "close", input, before); }));
    return before;
}

void DamageRig::build() {
    const auto open = [this] {
        return open_sqlite_store({.database = path(), .writer_thread = false}, clock_);
    };
    const EngineOptions options{.workers = 0, .steps = {}};
    const auto later = [](const std::string& code, Outcome outcome) {
        return RetryableError(
            "not now", {.code = code, .outcome = outcome, .retry_after = std::chrono::minutes(30)});
    };
    trouble_ = [&](const std::string& id, const std::string& step) {
        if (id == "order/asleep" && step == "charge") throw later("busy", Outcome::refused);
        if (id == "order/doubt" && step == "notify") throw later("timeout", Outcome::unknown);
        if (id == "order/dead" && step == "charge") {
            crashed_ = read();
            throw Died{};
        }
    };
    const auto accept = [](Engine& engine, const std::string& id, const std::string& who,
                           std::size_t padding) {
        engine.accept(event(id, {{"who", who}, {"items", std::string(padding, 'i')}}),
                      instance(id, "customer:" + who));
    };
    {
        const auto store = open();
        Engine engine(*store, clock_, random_, registry(), options);
        accept(engine, "done", "ann", 300);
        accept(engine, "large", "bob", 20'000);
        engine.run_until_idle();
        NewEvent odd = event("odd", Json::object());
        odd.disposition = NewEvent::Disposition::quarantined;
        odd.reason = "not JSON";
        odd.body = "{\xff";
        engine.accept(odd, std::nullopt);
    }
    {
        const auto store = open();
        Engine engine(*store, clock_, random_, registry(), options);
        accept(engine, "asleep", "cid", 300);
        engine.run_until_idle();
        accept(engine, "behind", "cid", 300);
        accept(engine, "doubt", "dan", 300);
        engine.run_until_idle();
        for (int i = 0; i < 6; ++i) accept(engine, fmt::format("fresh{}", i), "ann", 700);
        accept(engine, "dead", "eve", 300);
        clock_.advance(Ms(1));
        engine.run_until_idle();
    }
    trouble_ = nullptr;
    allowed_ = calls_;
    write(crashed_);
    const auto copy = directory_ / "backup.db";
    SQLite::Database(path(), SQLite::OPEN_READWRITE)
        .exec(fmt::format("VACUUM INTO '{}'", copy.string()));
    backup_ = {file_text(copy), ""};
}

void DamageRig::write(const DatabaseFiles& files) const {
    for (const char* part : {"", "-wal", "-shm", ".lock", ".sock"}) fs::remove(path() + part);
    write_file(path(), files.database);
    if (!files.wal.empty()) write_file(path() + "-wal", files.wal);
}

DatabaseFiles DamageRig::read() const {
    return {file_text(path()), fs::exists(path() + "-wal") ? file_text(path() + "-wal") : ""};
}

DamageVerdict DamageRig::judge(const DatabaseFiles& files) {
    DamageVerdict verdict;
    calls_.clear();
    clock_.set_ms(built_at_ms + 3'600'000);
    write(files);
    look(verdict);
    const DatabaseFiles after = read();
    verdict.inspect_wrote = after.database != files.database || after.wal != files.wal;
    work(verdict);
    if (allowed_.empty() || expected_.empty()) return verdict;
    for (const std::string& call : calls_)
        if (!allowed_.contains(call)) verdict.altered.insert(call);
    verdict.same_end = verdict.ends == expected_;
    verdict.is_an_earlier_moment =
        std::includes(expected_.begin(), expected_.end(), verdict.ends.begin(), verdict.ends.end());
    return verdict;
}

void DamageRig::look(DamageVerdict& verdict) {
    try {
        Inspector inspector(path(), clock_);
        for (const Check& check : inspector.check().checks)
            if (check.broken > 0) verdict.found.insert(check.name);
        for (const InstanceRow& row : inspector.list({})) inspector.show(row.id);
        inspector.stuck();
        inspector.stats();
        inspector.events(false, 0);
        inspector.customer("ann");
    } catch (const InspectError& error) {
        // A customer that is not found any more says nothing of the file.
        if (error.kind() != InspectError::Kind::not_found) verdict.found.insert("refused");
    }
}

void DamageRig::work(DamageVerdict& verdict) {
    try {
        const auto store = open_sqlite_store({.database = path(), .writer_thread = false}, clock_);
        try {
            Engine engine(*store, clock_, random_, registry(), {.workers = 0, .steps = {}});
            engine.run_until_idle();
            // Damaged times may lie far off: a year is enough for all that the undamaged one does.
            for (int looks = 0; looks < 20; ++looks) {
                const auto due = engine.next_due_ms();
                if (!due || *due > built_at_ms + 365LL * 86'400'000) break;
                clock_.set_ms(std::max(*due, clock_.now_ms()));
                engine.run_until_idle();
            }
            store->flush();
        } catch (const StoreError& error) {
            verdict.failed = error.what();
        }
        SQLite::Database reader(path(), SQLite::OPEN_READONLY);
        SQLite::Statement rows(reader,
                               "SELECT id, state||coalesce(' '||error_code,'') FROM instances");
        while (rows.executeStep())
            verdict.ends[rows.getColumn(0).getString()] = rows.getColumn(1).getString();
    } catch (const OpenError& error) {
        verdict.refused = error.what();
    } catch (const SQLite::Exception& error) {
        verdict.failed = error.what();
    }
}

}  // namespace steplog::testing
