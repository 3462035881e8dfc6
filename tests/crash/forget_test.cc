// The power goes while a customer is being forgotten: either nothing has happened, or everything;
// forgetting again completes, and then no byte is left on the disk.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <string_view>

#include "tests/crash/power_cut.h"
#include "tests/crash/small_workflow.h"

namespace steplog::testing {
namespace {

const std::string database = "steplog.db";
const std::string customer = "customer_gone";
const std::vector<std::string> marks = {"customer_gone", "event_gone", "mail_gone", "name_gone"};

class PowerLossWhileForgetting : public ::testing::TestWithParam<bool> {
  protected:
    std::unique_ptr<Store> open() {
        SqliteOptions options;
        options.database = database;
        options.vfs = vfs_.name();
        options.writer_thread = false;
        if (GetParam()) options.encryption_keys = parse_master_keys(std::string(64, '5'));
        return open_sqlite_store(options, clock_);
    }
    /// An event and its instance, completed, with small payloads and one of several pages.
    void provide(Store& store, const std::string& who, const std::string& word) {
        const std::string event = "event_" + word;
        const auto accepted =
            store
                .accept(
                    NewEvent{.source = "test",
                             .id = event,
                             .type = "t",
                             .subject = who,
                             .reason = "",
                             .body = "\"mail_" + word + std::string(9000, '.') + "\""},
                    NewInstance{
                        .id = "work/" + event, .workflow = "work", .key = "k:" + who, .input = {}},
                    true)
                .get();
        const Claimed& claimed = *accepted.claimed;
        store
            .advance({.instance = claimed.seq,
                      .epoch = claimed.epoch,
                      .entries = {{.step = "s",
                                   .kind = EntryKind::started,
                                   .attempt = 1,
                                   .data = {{"idempotency_key", "steplog:" + event}}}},
                      .once_claim = OnceClaim{.key = "once/" + who,
                                              .step = "s",
                                              .idempotency_key = "steplog:once/" + who,
                                              .request = "\"name_" + word + "\""}})
            .get();
        store
            .advance({.instance = claimed.seq,
                      .epoch = claimed.epoch,
                      .entries = {{.step = "s",
                                   .kind = EntryKind::completed,
                                   .attempt = 1,
                                   .payload = "\"name_" + word + "\""}},
                      .once_settle = OnceSettle{.key = "once/" + who,
                                                .completed = true,
                                                .result = "\"name_" + word + "\""},
                      .to = Transition{.to = State::completed, .output = "\"mail_" + word + "\""}})
            .get();
    }
    static bool forget(Store& store) {
        try {
            const auto forgotten = store.forget({.subject = customer}).get();
            return store.sweep(false).get() && (forgotten.done || forgotten.before);
        } catch (const StoreError&) {
            return false;
        }
    }
    std::vector<std::string> left() {
        std::vector<std::string> found;
        for (const auto& [name, bytes] : vfs_.image())
            for (const std::string& mark : marks) {
                const std::string_view text(reinterpret_cast<const char*>(bytes->data()),
                                            bytes->size());
                if (text.find(mark) != text.npos) found.push_back(name + ": " + mark);
            }
        return found;
    }
    void expect_forgotten_whole(const std::string& when) {
        EXPECT_TRUE(left().empty()) << when << ": " << left().front();
        const auto survey = surveyor_.look(vfs_.image(), database, true);
        EXPECT_TRUE(survey.damage.empty()) << when << ": " << survey.damage.front();
        EXPECT_EQ(survey.events.size(), 2u) << when;
        EXPECT_TRUE(survey.events.count("event_stays")) << when;
    }

    CrashVfs vfs_{"crash-forget"};
    ManualClock clock_;
    Surveyor surveyor_;
};
INSTANTIATE_TEST_SUITE_P(ClearOrEncrypted, PowerLossWhileForgetting, ::testing::Bool());

TEST_P(PowerLossWhileForgetting, ForgettingAgainCompletes) {
    CrashVfs::Image before;
    {
        const auto store = open();
        provide(*store, customer, "gone");
        provide(*store, "customer_stays", "stays");
    }
    EXPECT_FALSE(left().empty()) << "the search is blind";
    before = vfs_.image();
    int cuts = 0, half_done = 0;
    for (const Survival survival :
         {Survival::synced, Survival::everything, Survival::torn, Survival::page_cache}) {
        for (std::int64_t operation = 1;; ++operation) {
            vfs_.restore(before);
            bool through = false;
            try {
                const auto store = open();
                vfs_.cut_after(operation);
                through = forget(*store);
            } catch (const OpenError&) {
            }
            const bool cut = vfs_.is_cut();
            vfs_.crash(survival, static_cast<std::uint64_t>(operation));
            const std::string when =
                fmt::format("cut after {}, survival {}", operation, static_cast<int>(survival));
            half_done += through ? 0 : 1;
            {
                const auto store = open();
                ASSERT_TRUE(forget(*store)) << when;
                EXPECT_TRUE(store
                                ->accept(NewEvent{.source = "test",
                                                  .id = "event_gone",
                                                  .type = "t",
                                                  .subject = customer,
                                                  .reason = "",
                                                  .body = "x"},
                                         std::nullopt, false)
                                .get()
                                .duplicate)
                    << when;
            }
            ASSERT_NO_FATAL_FAILURE(expect_forgotten_whole(when));
            ++cuts;
            if (!cut) break;
        }
    }
    fmt::print("{} cuts while forgetting, {} of them before it was through\n", cuts, half_done);
    EXPECT_GT(half_done, 20);
}

}  // namespace
}  // namespace steplog::testing
