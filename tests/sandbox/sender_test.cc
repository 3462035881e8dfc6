// Deliveries: retries, duplicates, order, and the report.
#include "tools/sandbox/sender.h"

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <set>

namespace steplog::sandbox {
namespace {

std::vector<Event> some_events(int count) {
    std::vector<Event> events;
    for (int i = 0; i < count; ++i) {
        Event event;
        event.id = "evt_" + std::to_string(i);
        event.type = "customer.created";
        event.body = "{\"id\":\"" + event.id + "\"}";
        events.push_back(event);
    }
    return events;
}

/// A webhook endpoint that answers what the test says, and remembers what it got.
struct Endpoint {
    std::mutex mutex;
    std::vector<std::string> bodies;
    std::set<std::string> signatures;
    std::function<HttpAnswer(std::size_t n)> reply = [](std::size_t) {
        return HttpAnswer{.status = 200, .body = R"({"received":true})", .error = ""};
    };
    Post post() {
        return
            [this](const std::string&, const steps::Headers& headers, const std::string& body, Ms) {
                const std::scoped_lock lock(mutex);
                bodies.push_back(body);
                signatures.insert(header_of(headers, "Stripe-Signature"));
                return reply(bodies.size());
            };
    }
};

SenderOptions options_for(Endpoint& endpoint, int threads = 1) {
    SenderOptions options;
    options.url = "http://127.0.0.1/webhook";
    options.secrets = {"whsec_test"};
    options.backoff_base = Ms(1);
    options.backoff_cap = Ms(2);
    options.threads = threads;
    options.post = endpoint.post();
    return options;
}

TEST(Sender, DeliversInOrderUnlessToldOtherwise) {
    Endpoint endpoint;
    Sender sender(options_for(endpoint));
    EXPECT_EQ(sender.send(some_events(5)), 5u);
    ASSERT_TRUE(sender.wait_until_idle(Ms(5000)));
    ASSERT_EQ(endpoint.bodies.size(), 5u);
    EXPECT_EQ(endpoint.bodies[0], "{\"id\":\"evt_0\"}");
    EXPECT_EQ(endpoint.bodies[4], "{\"id\":\"evt_4\"}");
    EXPECT_EQ(sender.acknowledgements()[4].event, "evt_4");
}

TEST(Sender, TriesAgainUntilA2xx) {
    Endpoint endpoint;
    const std::vector<int> statuses = {500, 302, 400, 0, 204};
    endpoint.reply = [&](std::size_t n) {
        return HttpAnswer{.status = statuses[n - 1], .body = "", .error = "no answer"};
    };
    std::atomic<int> delivered = 0;
    SenderOptions options = options_for(endpoint);
    options.on_delivered = [&](const std::string&) { ++delivered; };
    Sender sender(std::move(options));
    sender.send(some_events(1));
    ASSERT_TRUE(sender.wait_until_idle(Ms(5000)));
    const Acknowledgement result = sender.acknowledgements()[0];
    EXPECT_EQ(result.attempts, 5);
    EXPECT_EQ(result.status, 204);
    EXPECT_TRUE(result.acknowledged);
    EXPECT_EQ(delivered, 1);
}

TEST(Sender, GivesUpAfterItsLastAttempt) {
    Endpoint endpoint;
    endpoint.reply = [](std::size_t) { return HttpAnswer{.status = 503, .body = "", .error = ""}; };
    SenderOptions options = options_for(endpoint);
    options.attempts_max = 3;
    Sender sender(std::move(options));
    sender.send(some_events(1));
    ASSERT_TRUE(sender.wait_until_idle(Ms(5000)));
    EXPECT_EQ(sender.acknowledgements()[0].attempts, 3);
    EXPECT_TRUE(sender.acknowledgements()[0].given_up);
    EXPECT_FALSE(sender.acknowledgements()[0].acknowledged);
}

TEST(Sender, SendsCopiesInAnotherOrderOnSeveralThreads) {
    Endpoint endpoint;
    endpoint.reply = [](std::size_t) {
        return HttpAnswer{.status = 200, .body = R"({"note":"already_processed"})", .error = ""};
    };
    Sender sender(options_for(endpoint, 4));
    EXPECT_EQ(sender.send(some_events(20), {.shuffle = true, .copies = 3}), 60u);
    ASSERT_TRUE(sender.wait_until_idle(Ms(5000)));
    std::map<std::string, int> times;
    for (const std::string& body : endpoint.bodies) ++times[body];
    EXPECT_EQ(times.size(), 20u);
    for (const auto& [body, count] : times) EXPECT_EQ(count, 3) << body;
    std::vector<std::string> order;
    for (const Acknowledgement& one : sender.acknowledgements()) {
        order.push_back(one.event);
        EXPECT_EQ(one.note, "already_processed");
    }
    EXPECT_FALSE(std::is_sorted(order.begin(), order.end()));
}

TEST(Sender, SignsEachTryAfresh) {
    struct Ticking : Clock {
        std::int64_t now_ms() const override { return now += 1000; }
        mutable std::atomic<std::int64_t> now = 0;
    } clock;
    Endpoint endpoint;
    endpoint.reply = [](std::size_t n) {
        return HttpAnswer{.status = n < 3 ? 500 : 200, .body = "", .error = ""};
    };
    SenderOptions options = options_for(endpoint);
    options.clock = &clock;
    Sender sender(std::move(options));
    sender.send(some_events(1));
    ASSERT_TRUE(sender.wait_until_idle(Ms(5000)));
    EXPECT_EQ(endpoint.signatures.size(), 3u);
}

TEST(Sender, AbandonsWhatIsNotDeliveredWhenItEnds) {
    Endpoint endpoint;
    endpoint.reply = [](std::size_t) { return HttpAnswer{.status = 503, .body = "", .error = ""}; };
    SenderOptions options = options_for(endpoint);
    options.backoff_base = options.backoff_cap = std::chrono::hours(1);
    const auto begun = std::chrono::steady_clock::now();
    {
        Sender sender(std::move(options));
        sender.send(some_events(3));
        EXPECT_FALSE(sender.wait_until_idle(Ms(20)));
        EXPECT_EQ(sender.pending(), 3u);
    }
    EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(5));
}

}  // namespace
}  // namespace steplog::sandbox
