#include "tests/model/simulation.h"

#include <malloc.h>

#include <array>

#include "tests/model/acts.h"

namespace steplog::testing {
namespace {

// How often each act comes, relative to the others.
constexpr std::array<int, act_kinds> weights = {
    12,  // deliver
    6,   // deliver_again
    1,   // keep_event
    6,   // deliver_purchase
    16,  // work
    6,   // let_pass
    12,  // reach_due
    3,   // set_clock
    7,   // cut_power
    3,   // kill
    2,   // restart
    5,   // take_over
    2,   // stop
    4,   // resume_one
    3,   // resume_all
    3,   // cancel
    6,   // send
    2,   // move
    4,   // pause
    2,   // edit
    2,   // purge
    2,   // fill_disk
    2,   // fail_disk
    3,   // break_provider
    2,   // renew
    1,   // deploy
    2,   // rotate_keys
    1,   // sweep
    2,   // change schedule
    2,   // change provider
    4,   // forget
    1    // look
};

ActKind draw(SeededRandom& dice) {
    int sum = 0;
    for (const int weight : weights) sum += weight;
    auto left = static_cast<int>(dice.below(static_cast<std::uint64_t>(sum)));
    int kind = 0;
    while ((left -= weights[static_cast<std::size_t>(kind)]) >= 0) ++kind;
    return static_cast<ActKind>(kind);
}

void give_secret(const std::string& database, const std::string& vfs) {
    SQLite::Database file(database, SQLite::OPEN_READWRITE, 0, vfs);
    SQLite::Statement write(file, "UPDATE meta SET value=? WHERE name='payload_hash_key'");
    const Hash secret = simulated_secret();
    write.bind(1, secret.data(), static_cast<int>(secret.size()));
    write.exec();
}

}  // namespace

const char* to_string(ActKind kind) {
    static constexpr std::array<const char*, act_kinds> words = {"deliver",
                                                                 "deliver again",
                                                                 "keep an event",
                                                                 "deliver a purchase",
                                                                 "work",
                                                                 "let pass",
                                                                 "reach due",
                                                                 "set the clock",
                                                                 "cut the power",
                                                                 "kill",
                                                                 "restart",
                                                                 "take over",
                                                                 "stop",
                                                                 "resume one",
                                                                 "resume all",
                                                                 "cancel",
                                                                 "send",
                                                                 "move",
                                                                 "pause",
                                                                 "edit",
                                                                 "purge",
                                                                 "fill the disk",
                                                                 "fail the disk",
                                                                 "break a provider",
                                                                 "renew",
                                                                 "deploy",
                                                                 "rotate keys",
                                                                 "sweep",
                                                                 "change a schedule",
                                                                 "change a provider",
                                                                 "forget",
                                                                 "look"};
    return words.at(static_cast<std::size_t>(kind));
}

Script script_for(std::uint64_t seed) {
    SeededRandom dice(seed);
    Script script{.seed = seed};
    script.purchase = dice.below(3) == 0;
    script.encrypted = dice.below(3) == 0;
    script.schedules = dice.below(3) == 0;
    constexpr std::array<unsigned, 4> troubles = {0, 50, 150, 400};
    script.trouble = troubles[dice.below(troubles.size())];
    constexpr std::array frames = {15, 60, 1000};
    script.checkpoint_frames = frames[dice.below(frames.size())];
    const auto acts = 20 + dice.below(50);
    for (std::uint64_t i = 0; i < acts; ++i) {
        const ActKind kind = i == 0 ? ActKind::deliver : draw(dice);
        script.acts.push_back({kind, dice.next()});
    }
    return script;
}

Stage::Stage(Mistake mistake) : mistake_(mistake), vfs_("model") {
    // Every script allocates and frees the same few megabytes: keep them rather than return them.
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    // Making the schema takes longer than many a script: all begin with a copy of this disk.
    SqliteOptions options{.database = database_, .writer_thread = false};
    options.vfs = vfs_.name();
    ManualClock clock;
    open_sqlite_store(options, clock);
    give_secret(database_, vfs_.name());
    vfs_.crash(Survival::everything, 0);
    empty_ = vfs_.image();
    vfs_.set_options({.lying_sync = mistake == Mistake::lying_sync});
}

Played Stage::play(const Script& script, bool telling) {
    return Simulation(*this, script, telling).play();
}

// Takes away halves, quarters, …, single acts, for as long as the same promise breaks.
Script Stage::shrink(const Script& script, const std::string& kind) {
    Script smallest = script;
    for (std::size_t chunk = smallest.acts.size() / 2; chunk > 0; chunk /= 2) {
        for (std::size_t at = 0; at + chunk <= smallest.acts.size();) {
            Script candidate = smallest;
            const auto from = candidate.acts.begin() + static_cast<std::ptrdiff_t>(at);
            candidate.acts.erase(from, from + static_cast<std::ptrdiff_t>(chunk));
            if (play(candidate).kind == kind)
                smallest = std::move(candidate);
            else
                at += chunk;
        }
    }
    return smallest;
}

Simulation::Simulation(Stage& stage, const Script& script, bool telling)
    : stage_(stage),
      script_(script),
      vfs_(stage.disk()),
      watch_(clock_),
      random_(script.seed),
      outside_(watch_, vfs_, clock_, script.seed) {
    watch_.telling = telling;
    outside_.trouble = script.trouble;
    vfs_.restore(stage.empty());
    if (script.encrypted) masters_ = parse_master_keys(master_key(0));
    if (script.schedules) deployed_.schedules = make_schedules(random_);
    if (script.purchase) purchase_.emplace(watch_, vfs_, clock_, outside_, script.seed);
    // The life that made the schema.
    watch_.truth().open(clock_.now_ms(), "");
}

Played Simulation::play() {
    begin_life();
    for (const Act& act : script_.acts) {
        if (!watch_.clean()) break;
        try {
            perform(act);
            if (watch_.clean()) after_act();
        } catch (const std::exception& error) {
            watch_.find("exception", error.what());
        }
    }
    try {
        if (watch_.clean()) finish();
    } catch (const std::exception& error) {
        watch_.find("exception", error.what());
    }
    end_life();
    played_.kind = watch_.kind();
    played_.findings = watch_.findings();
    played_.story = watch_.story();
    played_.store_calls = watch_.store_calls;
    return played_;
}

}  // namespace steplog::testing
