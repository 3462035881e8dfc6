// The smallest workflow that has every kind of effect: one that can be looked up, one whose
// provider honours idempotency keys, one that happens once whoever asks, and one that may be
// repeated. Its world is a few maps. Used by the power-loss tests; one thread.
#pragma once

#include "tests/crash/power_cut.h"

namespace steplog::testing {

class SmallWorkflow : public Scenario {
  public:
    struct Options {
        bool brief = false;  // one order rather than four
        unsigned trouble =
            0;  // per mille of calls that are refused, or whose answer is lost; 0: a fixed few
    };
    explicit SmallWorkflow(Options options) : options_(options) {}

    void begin(CrashVfs& vfs, ManualClock& clock, Ledger& ledger, std::uint64_t seed) override {
        vfs_ = &vfs;
        clock_ = &clock;
        ledger_ = &ledger;
        random_.emplace(seed);
        happened_.clear();
        answered_.clear();
        calls_ = 0;
    }

    Registry registry() override {
        Registry registry;
        registry.add(
            {.name = "order", .version = 1, .run = [this](Context& ctx, const Json& input) {
                 return order(ctx, input);
             }});
        return registry;
    }

    std::vector<Delivery> deliveries() override {
        // Orders of one customer queue behind each other, and take that key at the start or on
        // their way. One event comes twice, and one has a payload of several pages.
        const Delivery first = delivery("evt_1", "customer:1", "1", 200, false);
        if (options_.brief) return {first, first};
        std::vector<Delivery> all = {first, delivery("evt_2", "", "1", 9000, true), first};
        all.push_back(delivery("evt_3", "customer:1", "1", 700, false));
        all.push_back(delivery("evt_4", "customer:2", "2", 100, false));
        return all;
    }

    void check_world(Ledger& ledger) override {
        for (const auto& [subject, times] : happened_)
            if (times != 1)
                ledger.breach(Breach::repeated_effect,
                              fmt::format("{} happened {} times", subject, times));
        const std::size_t expected = options_.brief ? 3 : 4 * 2 + 2;
        if (happened_.size() != expected)
            ledger.breach(Breach::unfinished,
                          fmt::format("{} of {} effects happened", happened_.size(), expected));
    }

  private:
    static Delivery delivery(const std::string& event, const std::string& key,
                             const std::string& customer, std::size_t padding, bool run) {
        const Json body = {
            {"id", event}, {"customer", customer}, {"padding", std::string(padding, 'x')}};
        return {
            .event = {.source = "test",
                      .id = event,
                      .type = "order.paid",
                      .subject = customer,
                      .reason = "",
                      .body = body.dump()},
            .instance =
                NewInstance{.id = "order/" + event, .workflow = "order", .key = key, .input = {}},
            .run = run};
    }

    Json order(Context& ctx, const Json& input) {
        const auto customer = input.at("customer").get<std::string>();
        const std::string& id = ctx.instance_id();
        const auto reservation = ctx.step(
            "reserve", {.provider = "shop", .probe = probe([&](const Attempt&) {
                                                return look_up(id + "/reserve");
                                            })},
            [&](const Attempt& attempt) { return call(attempt, "reserve", id + "/reserve", ""); });
        ledger_->returned(id, "reserve");
        ctx.take_key("customer:" + customer);
        const auto charge =
            ctx.step("charge", {.provider = "shop", .idempotency_window = std::chrono::hours(24)},
                     [&](const Attempt& attempt) {
                         return call(attempt, "charge", id + "/charge", attempt.idempotency_key);
                     });
        ledger_->returned(id, "charge");
        const std::string once = "notify/" + customer;
        ctx.step("notify",
                 {.provider = "mail",
                  .repeat = Repeat::at_most_once,
                  .idempotency_window = std::chrono::hours(23),
                  .once = once,
                  .request = {{"order", id}}},
                 [&](const Attempt& attempt) {
                     return call(attempt, "notify", once, attempt.idempotency_key);
                 });
        ledger_->returned(id, "notify");
        ctx.step("close", [&](const Attempt& attempt) { call(attempt, "close", "", ""); });
        ledger_->returned(id, "close");
        return {{"reservation", reservation}, {"charge", charge}};
    }

    // A call to a provider: the request leaves, the effect happens (once for each key that the
    // provider honours), the answer comes back. The power may go between any two of these.
    std::string call(const Attempt& attempt, const std::string& step, const std::string& subject,
                     const std::string& key) {
        if (!vfs_->outside_operation("request " + step))
            throw RetryableError("the power is gone", {.outcome = Outcome::refused});
        ledger_->invoked(attempt.instance_id, step, attempt.number);
        ++calls_;
        const bool refused =
            options_.trouble ? random_->below(1000) < options_.trouble : calls_ == 2;
        if (refused)
            throw RetryableError("busy", {.code = "rate_limited", .outcome = Outcome::refused});
        const bool known = !key.empty() && !answered_.insert(key).second;
        if (!known && !subject.empty()) ++happened_[subject];
        const bool lost =
            options_.trouble ? random_->below(1000) < options_.trouble : calls_ == 4 || calls_ == 9;
        if (!vfs_->outside_operation("answer to " + step) || lost)
            throw RetryableError("no answer", {.code = "timeout", .outcome = Outcome::unknown});
        return "done " + subject;
    }

    std::optional<std::string> look_up(const std::string& subject) {
        if (!vfs_->outside_operation("look up " + subject))
            throw RetryableError("the power is gone", {.outcome = Outcome::refused});
        if (!happened_.count(subject)) return std::nullopt;
        return "done " + subject;
    }

    const Options options_;
    CrashVfs* vfs_ = nullptr;
    ManualClock* clock_ = nullptr;
    Ledger* ledger_ = nullptr;
    std::optional<SeededRandom> random_;
    std::map<std::string, int> happened_;  // effects by what they are about
    std::set<std::string> answered_;       // idempotency keys that the providers have seen
    int calls_ = 0;
};

}  // namespace steplog::testing
