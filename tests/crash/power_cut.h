// A machine whose power goes at chosen moments: the real engine on the real store over a CrashVfs,
// started anew after every loss until a scenario is through. Used by the power-loss tests. One
// thread.
#pragma once

#include <malloc.h>

#include <functional>
#include <future>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/sqlite_store.h"
#include "tests/crash/call_before_intent.h"
#include "tests/crash/ledger.h"
#include "tests/crash/survey.h"
#include "tests/support/crash_vfs.h"
#include "tests/support/manual_clock.h"

namespace steplog::testing {

/// How the machine is built. The defaults are those of a server; each of the others is a mistake
/// that the checks must notice.
struct Construction {
    std::string synchronous = "FULL";
    bool lying_sync = false;
    bool acknowledge_before_commit = false;
    bool call_before_intent = false;
    bool powersafe_overwrite = true;
    WalTrust wal_trust = WalTrust::none;
};

/// How a life ends before its time: at which operation the power goes, and what that leaves. Or,
/// with `io_error`, that operation fails with this SQLite result, and the process ends as it must.
struct Cut {
    std::int64_t after = 1;
    Survival survival = Survival::synced;
    std::uint64_t seed = 0;
    std::optional<Operation> only = {};  // counts only these
    int io_error = 0;
};

/// What arrives from outside.
struct Delivery {
    NewEvent event;
    std::optional<NewInstance> instance;
    bool run = false;  // the engine works until nothing is due before the next delivery
    std::function<void(Engine&)> first = {};  // done before it; again, if the power goes before it
                                              // was acknowledged
};

/// What runs on the machine, and the world that its effects change.
class Scenario {
  public:
    virtual ~Scenario() = default;
    /// A new world under this seed. `vfs` has the power, `ledger` takes the notes.
    virtual void begin(CrashVfs& vfs, ManualClock& clock, Ledger& ledger, std::uint64_t seed) = 0;
    virtual Registry registry() = 0;
    virtual std::vector<Delivery> deliveries() = 0;
    /// Defined in each life before anything runs; nothing is waited for beyond `ends_ms`.
    virtual std::vector<Schedule> schedules() { return {}; }
    virtual std::int64_t ends_ms() { return std::numeric_limits<std::int64_t>::max(); }
    virtual FlowPolicy flow() { return {}; }
    /// When all is done: effects that are missing or happened twice.
    virtual void check_world(Ledger& ledger) = 0;
};

/// One case, told.
struct Story {
    int cuts = 0;                     // power losses that happened
    std::vector<std::string> cut_at;  // at which operations
    std::int64_t operations = 0;      // of the last life
    Ledger ledger;
    bool clean() const { return ledger.details().empty(); }
    std::string text() const {
        std::string text;
        for (const auto& at : cut_at) text += "\n  the power went at: " + at;
        for (const auto& detail : ledger.details()) text += "\n  " + detail;
        return text;
    }
};

class Machine {
  public:
    explicit Machine(Construction construction = {})
        : construction_(std::move(construction)),
          vfs_("crash", {.powersafe_overwrite = construction_.powersafe_overwrite}) {
        // Every case allocates and frees the same few megabytes: keep them rather than return them.
        mallopt(M_MMAP_THRESHOLD, 1 << 30);
        mallopt(M_TRIM_THRESHOLD, 1 << 30);
        // Making the schema takes longer than most cases: every case begins from a copy of this
        // disk.
        ManualClock clock;
        open_sqlite_store({.database = database_, .writer_thread = false, .vfs = vfs_.name()},
                          clock);
        vfs_.crash(Survival::everything, 0);
        empty_ = vfs_.image();
        vfs_.set_options({.lying_sync = construction_.lying_sync,
                          .powersafe_overwrite = construction_.powersafe_overwrite});
    }

    /// One power loss a life, then a life that ends well.
    Story run(Scenario& scenario, const std::vector<Cut>& cuts, std::uint64_t seed) {
        Story story;
        vfs_.restore(empty_);
        ManualClock clock;
        scenario.begin(vfs_, clock, story.ledger, seed);
        SeededRandom random(seed);
        for (std::size_t life = 0;; ++life) {
            if (life < cuts.size()) arrange(cuts[life]);
            story.ledger.alive();
            const bool through = live(scenario, clock, random, story.ledger);
            story.operations = vfs_.operations();
            if (through || life >= cuts.size()) break;
            ++story.cuts;
            story.cut_at.push_back(fmt::format("{} (survival {}, seed {})", vfs_.cut_at(),
                                               static_cast<int>(cuts[life].survival),
                                               cuts[life].seed));
            vfs_.crash(cuts[life].survival, cuts[life].seed);
            vfs_.clear_faults();
            story.ledger.compare(surveyor_.look(vfs_.image(), database_, false),
                                 cuts[life].survival != Survival::page_cache);
            if (story.ledger.count(Breach::damaged) > 0) return story;
        }
        const auto survey = surveyor_.look(vfs_.image(), database_, true);
        story.ledger.compare(survey, true);
        for (const auto& [id, state] : survey.instances)
            if (state != "completed") story.ledger.breach(Breach::unfinished, id + " is " + state);
        if (story.ledger.count(Breach::unfinished) == 0) scenario.check_world(story.ledger);
        return story;
    }

  private:
    void arrange(const Cut& cut) {
        if (cut.io_error)
            vfs_.fail(cut.only.value_or(Operation::write), cut.after, cut.io_error);
        else
            vfs_.cut_after(cut.after, cut.only);
    }

    // From start-up to a clean end (true), or to the moment when the power or the store is gone.
    bool live(Scenario& scenario, ManualClock& clock, SeededRandom& random, Ledger& ledger) {
        try {
            auto store = open_sqlite_store(
                {.database = database_,
                 .writer_thread = false,
                 .change_limit = std::chrono::minutes(1),  // nothing here is about real time
                 .create = false,
                 .on_fatal = [&](const std::string&) { ledger.store_failed(); },
                 .vfs = vfs_.name(),
                 .synchronous = construction_.synchronous,
                 .acknowledge_before_commit = construction_.acknowledge_before_commit,
                 .wal_trust = construction_.wal_trust,
                 .log_room_bytes = 16 * 1024},  // small, so that more is made in each scenario
                clock);
            std::optional<CallBeforeIntent> careless;
            if (construction_.call_before_intent) careless.emplace(*store);
            EngineOptions options;
            options.workers = 0;
            options.flow = scenario.flow();
            options.on_transition = [&](const Transitioned& transition) {
                if (transition.what == "finished") ledger.completed(transition.instance);
            };
            Engine engine(careless ? static_cast<Store&>(*careless) : *store, clock, random,
                          scenario.registry(), options);
            if (auto schedules = scenario.schedules(); !schedules.empty())
                engine.schedule(std::move(schedules));
            work(engine, *store, scenario, clock, ledger);
        } catch (const OpenError& error) {
            return refused(error.what(), ledger);
        } catch (const StoreError& error) {
            return refused(error.what(), ledger);
        } catch (const std::future_error& error) {
            // The store that acknowledges too early has nobody left to tell.
            return refused(error.what(), ledger);
        }
        return !vfs_.is_cut() && !ledger.store_has_failed();
    }

    // Giving up is right without power, and after the one I/O error that the case asked for.
    bool refused(const char* why, Ledger& ledger) {
        if (!vfs_.is_cut() && !vfs_.has_failed()) ledger.breach(Breach::damaged, why);
        return false;
    }

    void work(Engine& engine, Store& store, Scenario& scenario, ManualClock& clock,
              Ledger& ledger) {
        const bool first_life = ledger.acknowledged_events() == 0;
        for (const Delivery& delivery : scenario.deliveries()) {
            // In later lives only what was never acknowledged comes again, as a provider does it.
            if (!first_life && ledger.is_acknowledged(delivery.event.id)) continue;
            const bool failed_before = ledger.store_has_failed();
            if (delivery.first) delivery.first(engine);
            engine.accept(delivery.event, delivery.instance);
            if (failed_before)
                ledger.breach(Breach::after_failure, delivery.event.id + " was acknowledged");
            ledger.acknowledged(delivery.event.id);
            if (delivery.run) engine.run_until_idle();
        }
        while (!vfs_.is_cut() && store.health() != Store::Health::failed) {
            engine.run_until_idle();
            const auto due = engine.next_due_ms();
            if (!due || *due > scenario.ends_ms()) return;
            clock.set_ms(std::max(clock.now_ms(), *due));
        }
    }

    const Construction construction_;
    const std::string database_ = "steplog.db";
    CrashVfs vfs_;
    Surveyor surveyor_;
    CrashVfs::Image empty_;
};

}  // namespace steplog::testing
