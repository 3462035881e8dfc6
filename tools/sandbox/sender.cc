// A queue of deliveries by due time, and the threads that make them.
#include "tools/sandbox/sender.h"

#include <algorithm>

namespace steplog::sandbox {
namespace {

std::string note_of(const HttpAnswer& answer) {
    if (answer.status == 0) return answer.error;
    const Json body = Json::parse(answer.body, nullptr, false);
    return body.is_discarded() ? "" : string_at(body, "note");
}

}  // namespace

Sender::Sender(SenderOptions options) : options_(std::move(options)), random_(options_.seed) {
    if (!options_.post) {
        options_.post = [](const std::string& url, const steps::Headers& headers,
                           const std::string& body,
                           Ms timeout) { return http_call("POST", url, headers, body, timeout); };
    }
    for (int i = 0; i < std::max(1, options_.threads); ++i) {
        threads_.emplace_back([this](const std::stop_token& stop) { run(stop); });
    }
}

Sender::~Sender() {
    for (std::jthread& thread : threads_) thread.request_stop();
}

std::size_t Sender::send(const std::vector<Event>& events, const SendOptions& options) {
    std::vector<const Event*> order;
    for (int copy = 0; copy < std::max(1, options.copies); ++copy) {
        for (const Event& event : events) order.push_back(&event);
    }
    const std::scoped_lock lock(mutex_);
    if (options.shuffle) std::shuffle(order.begin(), order.end(), random_);
    const Time now = std::chrono::steady_clock::now();
    for (const Event* event : order) {
        Acknowledgement acknowledgement;
        acknowledgement.event = event->id;
        acknowledgement.type = event->type;
        due_.push({now, acknowledgements_.size()});
        acknowledgements_.push_back(std::move(acknowledgement));
        bodies_.push_back(event->body);
        ++pending_;
    }
    changed_.notify_all();
    return order.size();
}

void Sender::run(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (!stop.stop_requested()) {
        if (due_.empty()) {
            changed_.wait(lock, stop, [this] { return !due_.empty(); });
            continue;
        }
        const Delivery next = due_.top();
        if (next.due > std::chrono::steady_clock::now()) {
            changed_.wait_until(lock, stop, next.due,
                                [&] { return due_.empty() || due_.top().due < next.due; });
            continue;
        }
        due_.pop();
        lock.unlock();
        attempt(next.number);
        lock.lock();
    }
}

void Sender::attempt(std::size_t number) {
    std::string body;
    std::string event;
    {
        const std::scoped_lock lock(mutex_);
        body = bodies_[number];
        event = acknowledgements_[number].event;
    }
    const std::int64_t now_ms =
        options_.clock != nullptr ? options_.clock->now_ms() : SystemClock().now_ms();
    // Every try gets a new timestamp and signature.
    const steps::Headers headers = delivery_headers(body, options_.secrets, now_ms / 1000);
    const Time begun = std::chrono::steady_clock::now();
    const HttpAnswer answer = options_.post(options_.url, headers, body, options_.timeout);
    const Time ended = std::chrono::steady_clock::now();
    const bool acknowledged = answer.status >= 200 && answer.status < 300;
    if (acknowledged && options_.on_delivered) options_.on_delivered(event);

    const std::scoped_lock lock(mutex_);
    Acknowledgement& result = acknowledgements_[number];
    result.status = answer.status;
    result.note = note_of(answer);
    result.took_ms = std::chrono::duration_cast<Ms>(ended - begun).count();
    ++result.attempts;
    result.acknowledged = acknowledged;
    result.given_up = !acknowledged && result.attempts >= options_.attempts_max;
    if (acknowledged || result.given_up) {
        --pending_;
    } else {
        const int doublings = std::min(result.attempts - 1, 20);
        due_.push({ended + std::min(options_.backoff_cap, options_.backoff_base * (1 << doublings)),
                   number});
    }
    changed_.notify_all();
}

bool Sender::wait_until_idle(Ms timeout) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, timeout, [this] { return pending_ == 0; });
}

std::vector<Acknowledgement> Sender::acknowledgements() const {
    const std::scoped_lock lock(mutex_);
    return acknowledgements_;
}

std::size_t Sender::pending() const {
    const std::scoped_lock lock(mutex_);
    return pending_;
}

Json to_json(const Acknowledgement& acknowledgement) {
    return {{"event", acknowledgement.event},
            {"type", acknowledgement.type},
            {"status", acknowledgement.status},
            {"note", acknowledgement.note},
            {"attempts", acknowledgement.attempts},
            {"took_ms", acknowledgement.took_ms},
            {"acknowledged", acknowledgement.acknowledged},
            {"given_up", acknowledgement.given_up}};
}

}  // namespace steplog::sandbox
