// The power goes while a person's order is carried out, at every operation and again in the
// recovery: each transaction of it is there with its audit row, or not at all; what was reported
// done is there; and the order, given again, completes.
#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "engine/sqlite_store.h"
#include "engine/wal_rewrite.h"
#include "tests/crash/survey.h"
#include "tests/support/crash_vfs.h"
#include "tests/support/manual_clock.h"

namespace steplog::testing {
namespace {

const std::string database = "/steplog.db";
const std::string old_key(64, '5');
const std::string new_key(64, '6');

/// An order as one transaction after the other; false when nothing was left to do.
using Order = std::function<bool(Store&)>;

class PowerLossDuringAnOrder : public ::testing::Test {
  protected:
    PowerLossDuringAnOrder() {
        keys_ = old_key;
        {
            const auto store = open();
            for (int i = 0; i < 5; ++i) provide(*store, fmt::format("done{}", i), "", completed());
            provide(*store, "stuck1", "", stuck());
            provide(*store, "stuck2", "same", stuck());
            provide(*store, "asleep", "", asleep());
            provide(*store, "behind", "same", std::nullopt);
            provide(*store, "half", "", stuck(), false);
            store
                ->define_schedules(
                    {{.name = "nightly", .workflow = "w", .version = 1, .cron = "@daily"}})
                .get();
        }
        keys_ = new_key + "," + old_key;
        clock_.advance(std::chrono::hours(24 * 100));
        { const auto store = open(); }
        disk_ = vfs_.image();
    }

    std::unique_ptr<Store> open() {
        SqliteOptions options{.database = database, .writer_thread = false};
        options.encryption_keys = parse_master_keys(keys_);
        options.vfs = vfs_.name();
        return open_sqlite_store(std::move(options), clock_);
    }

    static Transition completed() { return {.to = State::completed, .output = R"({"done":true})"}; }
    static Transition stuck() {
        return {.to = State::stuck, .error_code = "odd", .error = "two left shoes"};
    }
    static Transition asleep() {
        return {.to = State::sleeping,
                .waits_for = WaitsFor::retry,
                .delay = std::chrono::hours(24 * 1000)};
    }
    // An event and its instance, with a step that ended, or one that did not.
    static void provide(Store& store, const std::string& word, const std::string& key,
                        const std::optional<Transition>& to, bool finished = true) {
        const auto accepted =
            store
                .accept(NewEvent{.source = "test",
                                 .id = "evt_" + word,
                                 .type = "t",
                                 .subject = "cus_" + word,
                                 .reason = "",
                                 .body = "\"" + word + std::string(3000, '.') + "\""},
                        NewInstance{.id = "w/" + word, .workflow = "w", .key = key, .input = {}},
                        true)
                .get();
        if (!to) return;
        const Claimed& claimed = *accepted.claimed;
        store
            .advance({.instance = claimed.seq,
                      .epoch = claimed.epoch,
                      .entries = {{.step = "s", .kind = EntryKind::started, .attempt = 1}},
                      .step = "s",
                      .attempt = 1})
            .get();
        Advance end{.instance = claimed.seq, .epoch = claimed.epoch, .to = *to};
        if (finished)
            end.entries = {
                {.step = "s", .kind = EntryKind::completed, .attempt = 1, .payload = R"({"a":1})"}};
        store.advance(std::move(end)).get();
    }

    // What an order may change, and its audit; not whose life the server is in.
    std::string told() {
        look_.restore(vfs_.image());
        finish_wal_rewrite(database, look_.name());
        // Not read-only: a journal may be hot.
        SQLite::Database reader(database, SQLite::OPEN_READWRITE, 0, look_.name());
        std::string text;
        for (const char* query :
             {"SELECT id||'|'||state||'|'||version||'|'||coalesce(due_at_ms,'')||'|'||holds_key "
              "FROM instances ORDER BY seq",
              "SELECT instance||'|'||name||'|'||dedupe_id FROM signals ORDER BY seq",
              "SELECT name||'|'||coalesce(due_at_ms,'')||'|'||coalesce(paused_at_ms,'')||'|'||"
              "started FROM schedules",
              "SELECT provider||'|'||state||'|'||coalesce(held_at_ms,'') FROM breakers",
              "SELECT instance||'|'||n||'|'||kind||'|'||step FROM entries ORDER BY instance, n",
              "SELECT id||'|'||coalesce(instance,'') FROM events ORDER BY seq",
              "SELECT id||'|'||coalesce(data_key_id,'') FROM payloads ORDER BY id",
              "SELECT id||'|'||wrapping_key_id FROM data_keys ORDER BY id",
              "SELECT name FROM meta WHERE name LIKE 'paused_workflow:%'",
              "SELECT actor||'|'||action||'|'||target||'|'||detail FROM audit ORDER BY seq"}) {
            SQLite::Statement rows(reader, query);
            while (rows.executeStep()) text += rows.getColumn(0).getString() + "\n";
            text += "--\n";
        }
        return text;
    }

    // What is there before the order and after each of its transactions.
    std::vector<std::string> states_of(const Order& order) {
        vfs_.restore(disk_);
        std::vector<std::string> states = {told()};
        const auto store = open();
        while (order(*store)) states.push_back(told());
        return states;
    }

    // One life that obeys, cut at the n-th operation after its start (or, with `starting`, of it).
    // How many transactions were reported done; nothing when it was through before that.
    std::optional<std::size_t> live(const CrashVfs::Image& from, std::int64_t n, Survival survival,
                                    const Order& order, bool starting) {
        vfs_.restore(from);
        if (starting) vfs_.cut_after(n);
        std::size_t done = 0;
        try {
            const auto store = open();
            if (!starting) vfs_.cut_after(n);
            while (order(*store)) ++done;
        } catch (const StoreError&) {
            EXPECT_TRUE(vfs_.is_cut());
        } catch (const OpenError&) {
            EXPECT_TRUE(vfs_.is_cut());
        }
        if (!vfs_.is_cut()) {
            vfs_.restore(vfs_.image());  // …and the power stays on
            return std::nullopt;
        }
        vfs_.crash(survival, static_cast<std::uint64_t>(n));
        return done;
    }

    // The place of what survived among the order's states; one that is not there is a failure.
    std::size_t place(const std::vector<std::string>& states, const std::string& when) {
        const std::string found = told();
        const auto at = std::find(states.begin(), states.end(), found);
        if (at == states.end()) findings_.push_back(when + " left something in between:\n" + found);
        return static_cast<std::size_t>(at - states.begin());
    }
    void expect_at_least(std::size_t reached, std::size_t promised, const std::string& when) {
        if (reached < promised) findings_.push_back(when + " lost what was reported done");
    }

    void expect_whole(const std::string& when) {
        for (const auto& damage : surveyor_.look(vfs_.image(), database, true).damage)
            findings_.push_back(when + ": " + damage);
    }

    /// Until the first finding.
    void attack(const char* name, const std::vector<std::string>& states, const Order& order) {
        const std::string in_the_end = states.back();
        int cuts = 0, half_done = 0;
        for (const Survival survival :
             {Survival::synced, Survival::everything, Survival::torn, Survival::page_cache}) {
            for (std::int64_t n = 1;; ++n) {
                const auto when =
                    fmt::format("{}: cut at {}, survival {}", name, n, static_cast<int>(survival));
                const auto done = live(disk_, n, survival, order, false);
                if (!done) break;
                ++cuts;
                std::size_t reached = place(states, when);
                expect_at_least(reached, *done, when);
                half_done += reached + 1 < states.size() ? 1 : 0;
                // The power goes again while the next life begins and obeys.
                const auto left = vfs_.image();
                if (survival != Survival::page_cache && n % 5 == 0) {
                    const auto again = live(left, 1 + n % 37, survival, order, true);
                    cuts += again ? 1 : 0;
                    const auto now = again ? place(states, when + ", and again") : states.size();
                    expect_at_least(now, reached, when + ", and again");
                }
                {
                    const auto store = open();
                    while (order(*store)) {
                    }
                }
                if (told() != in_the_end) findings_.push_back(when + ": not completed afterwards");
                expect_whole(when);
                if (!findings_.empty()) return;
            }
        }
        fmt::print("{}: {} cuts, {} of them before it was through\n", name, cuts, half_done);
        EXPECT_GT(cuts, 20) << name;
    }
    void expect_whole_orders(const char* name, const Order& order) {
        attack(name, states_of(order), order);
        EXPECT_TRUE(findings_.empty()) << findings_.front();
    }

    std::string keys_;
    CrashVfs vfs_{"orders"};
    CrashVfs look_{"orders-look"};
    ManualClock clock_;
    Surveyor surveyor_;
    CrashVfs::Image disk_;
    std::vector<std::string> findings_;
};

TEST_F(PowerLossDuringAnOrder, PurgesEachLotWithItsAuditOrNotAtAll) {
    expect_whole_orders("purge", [](Store& store) {
        const auto purged = store
                                .purge({.older_than = std::chrono::hours(24 * 50),
                                        .limit = 2,
                                        .actor = "uid:1",
                                        .reason = "space"})
                                .get();
        return purged.instances + purged.events > 0;
    });
}

TEST_F(PowerLossDuringAnOrder, RetainsEachLotOrNotAtAll) {
    expect_whole_orders("retention", [](Store& store) {
        const auto purged =
            store.purge({.older_than = std::chrono::hours(24 * 50), .limit = 2}).get();
        return purged.instances + purged.events > 0;
    });
}

TEST_F(PowerLossDuringAnOrder, CancelsAllThatWereNamedOrNone) {
    expect_whole_orders("cancel", [](Store& store) {
        return !store
                    .cancel({.ids = {"w/stuck1", "w/asleep", "w/stuck2"},
                             .actor = "uid:1",
                             .reason = "closed"})
                    .get()
                    .ids.empty();
    });
}

TEST_F(PowerLossDuringAnOrder, ResumesOne) {
    expect_whole_orders("resume one", [](Store& store) {
        return !store.resume({.ids = {"w/stuck2"}, .actor = "uid:1"}).get().ids.empty();
    });
}

TEST_F(PowerLossDuringAnOrder, ResumesManyInTheLotsThatWereAsked) {
    expect_whole_orders("resume all", [](Store& store) {
        return !store.resume({.limit = 2, .actor = "uid:1"}).get().ids.empty();
    });
}

TEST_F(PowerLossDuringAnOrder, StartsByHand) {
    expect_whole_orders("start", [](Store& store) {
        return !store
                    .accept(std::nullopt,
                            NewInstance{.id = "w/byhand",
                                        .workflow = "w",
                                        .key = "same",
                                        .input = R"({"day":1})",
                                        .actor = "uid:1",
                                        .reason = "ticket 7"},
                            false)
                    .get()
                    .duplicate;
    });
}

TEST_F(PowerLossDuringAnOrder, TakesAPersonsWordOnAStep) {
    for (const auto& result : {std::optional<std::string>(R"({"id":"by hand"})"), {}})
        expect_whole_orders(result ? "skip" : "fail", [&](Store& store) {
            return store
                .decide({.instance = "w/half",
                         .step = "s",
                         .result = result,
                         .message = "no",
                         .actor = "uid:1"})
                .get()
                .refused.empty();
        });
}

TEST_F(PowerLossDuringAnOrder, TriesAgainNow) {
    // Given twice it is done twice: who gave it looks first.
    expect_whole_orders("retry-now", [this](Store& store) {
        if (told().find("uid:1|retry-now|") != std::string::npos) return false;
        return !store.resume({.ids = {"w/asleep"}, .retry_now = true, .actor = "uid:1"})
                    .get()
                    .ids.empty();
    });
}

TEST_F(PowerLossDuringAnOrder, MovesAllThatWereNamedOrNone) {
    expect_whole_orders("move", [](Store& store) {
        return !store.move({.ids = {"w/stuck1", "w/asleep"}, .to_version = 2, .actor = "uid:1"})
                    .get()
                    .ids.empty();
    });
}

TEST_F(PowerLossDuringAnOrder, SendsASignalOnce) {
    expect_whole_orders("signal", [](Store& store) {
        const auto sent = store
                              .signal({.instance = "w/asleep",
                                       .name = "approved",
                                       .payload = "true",
                                       .dedupe_id = "1",
                                       .actor = "uid:1"})
                              .get();
        return sent.refused.empty() && !sent.duplicate;
    });
}

TEST_F(PowerLossDuringAnOrder, PausesUnpausesAndTriggersASchedule) {
    using Kind = ScheduleChange::Kind;
    expect_whole_orders("schedule pause, unpause, trigger", [this](Store& store) {
        const std::string so_far = told();
        for (const auto& [kind, action] : {std::pair(Kind::pause, "|schedule-pause|"),
                                           {Kind::unpause, "|schedule-unpause|"},
                                           {Kind::trigger, "|schedule-trigger|"}})
            if (so_far.find(action) == std::string::npos)
                return store.change_schedule({.kind = kind, .name = "nightly", .actor = "uid:1"})
                    .get()
                    .refused.empty();
        return false;
    });
}

TEST_F(PowerLossDuringAnOrder, PausesAProviderAndLetsItGo) {
    using Kind = ProviderChange::Kind;
    expect_whole_orders("pause and unpause --provider", [this](Store& store) {
        const std::string so_far = told();
        for (const auto& [kind, action] :
             {std::pair(Kind::pause, "|provider-pause|"), {Kind::unpause, "|provider-unpause|"}})
            if (so_far.find(action) == std::string::npos)
                return store.change_provider({.kind = kind, .provider = "clerk", .actor = "uid:1"})
                    .get()
                    .refused.empty();
        return false;
    });
}

TEST_F(PowerLossDuringAnOrder, PausesAllThatWereNamedOrNone) {
    expect_whole_orders("pause", [](Store& store) {
        return !store
                    .operate({.kind = OperateRequest::Kind::pause,
                              .ids = {"w/asleep", "w/behind"},
                              .actor = "uid:1",
                              .reason = "wait"})
                    .get()
                    .ids.empty();
    });
}

TEST_F(PowerLossDuringAnOrder, PausesAWorkflow) {
    expect_whole_orders("pause a workflow", [](Store& store) {
        return !store
                    .operate({.kind = OperateRequest::Kind::pause_workflow,
                              .ids = {"w"},
                              .actor = "uid:1"})
                    .get()
                    .ids.empty();
    });
}

TEST_F(PowerLossDuringAnOrder, EditsAnInput) {
    expect_whole_orders("edit", [this](Store& store) {
        if (told().find("uid:1|edit|w/stuck1") != std::string::npos) return false;
        return !store
                    .operate({.kind = OperateRequest::Kind::edit,
                              .ids = {"w/stuck1"},
                              .payload = "\"" + std::string(3000, '!') + "\"",
                              .actor = "uid:1"})
                    .get()
                    .ids.empty();
    });
}

TEST_F(PowerLossDuringAnOrder, ForksAndEndsTheOldOneTogether) {
    expect_whole_orders("fork", [](Store& store) {
        return !store
                    .operate({.kind = OperateRequest::Kind::fork,
                              .ids = {"w/stuck2"},
                              .step = "s",
                              .new_id = "w/again",
                              .cancel_old = true,
                              .actor = "uid:1"})
                    .get()
                    .ids.empty();
    });
}

TEST_F(PowerLossDuringAnOrder, RotatesEachLotOfKeys) {
    expect_whole_orders("rotate-key", [](Store& store) {
        return store.rotate_keys({.limit = 3, .actor = "uid:1", .reason = "yearly"}).get().done > 0;
    });
    vfs_.crash(Survival::page_cache, 0);
    keys_ = new_key;
    EXPECT_NO_THROW(open()) << "the old key is needed no more";
}

TEST_F(PowerLossDuringAnOrder, SweepsWithoutChangingAnything) {
    for (const bool rewrite : {false, true}) {
        const auto states = states_of([&](Store& store) {
            EXPECT_TRUE(store.sweep(rewrite).get());
            return false;
        });
        int cuts = 0;
        for (const Survival survival :
             {Survival::synced, Survival::everything, Survival::torn, Survival::page_cache}) {
            bool cut = true;
            for (std::int64_t n = 1; cut; ++n) {
                const auto when = fmt::format("sweep({}): cut at {}, survival {}", rewrite, n,
                                              static_cast<int>(survival));
                // A row that the checkpoint has to move, and that was reported durable.
                bool cancelled = false;
                cut = live(
                          disk_, n, survival,
                          [&](Store& store) {
                              cancelled = !store.cancel({.ids = {"w/stuck1"}, .actor = "uid:1"})
                                               .get()
                                               .ids.empty();
                              store.sweep(rewrite).get();
                              return false;
                          },
                          false)
                          .has_value();
                if (!cut) break;
                ++cuts;
                const bool is_cancelled = told() != states.front();
                EXPECT_TRUE(is_cancelled || !cancelled) << when;
                open();
                expect_whole(when);
                ASSERT_TRUE(findings_.empty()) << findings_.front();
            }
        }
        fmt::print("sweep({}): {} cuts\n", rewrite, cuts);
        EXPECT_GT(cuts, 20);
    }
}

// --- controls: what must be noticed

TEST_F(PowerLossDuringAnOrder, CatchesAnOrderOfTwoTransactionsThatIsToldAsOne) {
    const auto cancel = [](Store& store, const std::string& id) {
        return !store.cancel({.ids = {id}, .actor = "uid:1"}).get().ids.empty();
    };
    const Order by_halves = [&](Store& store) {
        const bool one = cancel(store, "w/stuck1");
        return cancel(store, "w/asleep") || one;
    };
    attack("by halves", states_of(by_halves), by_halves);
    EXPECT_FALSE(findings_.empty());
}

TEST_F(PowerLossDuringAnOrder, CatchesALyingDisk) {
    const Order order = [](Store& store) {
        return !store.cancel({.ids = {"w/stuck1"}, .actor = "uid:1"}).get().ids.empty();
    };
    const auto states = states_of(order);
    vfs_.set_options({.lying_sync = true});
    attack("a lying disk", states, order);
    EXPECT_FALSE(findings_.empty());
}

}  // namespace
}  // namespace steplog::testing
