// GET /metrics: what was counted, and a fresh look at what must be looked up; see metrics.h.
#include <httplib.h>

#include "server/front.h"
#include "server/http_answer.h"
#include "server/metrics.h"

namespace steplog::server {
namespace {

constexpr std::int64_t sample_every_ms = 2000;

std::uintmax_t size_of(const std::filesystem::path& file) {
    std::error_code error;
    const auto bytes = std::filesystem::file_size(file, error);
    return error ? 0 : bytes;
}

// Stuck with one of these, it is no paying customer who waits for an account.
const std::vector<std::string> nobody_waits = {"no_longer_paid", "customer_deleted",
                                               "livemode_mismatch"};

}  // namespace

std::optional<std::int64_t> paid_without_account_since_ms(Inspector& inspector) {
    return inspector.oldest_without("provision_customer", "create_clerk_user", nobody_waits);
}

Unreached paid_without_account_lately(DashboardReader& reader) {
    return reader.unreached("provision_customer", "create_clerk_user", nobody_waits);
}

MetricsRoute::MetricsRoute(Metrics& metrics, Sources sources)
    : metrics_(metrics), sources_(std::move(sources)) {}

void MetricsRoute::add_to(httplib::Server& routes) {
    routes.Get("/metrics", [this](const httplib::Request&, httplib::Response& response) {
        send({.status = 200, .body = answer(), .type = "text/plain; version=0.0.4; charset=utf-8"},
             response);
    });
    refuse_other_methods(routes, "/metrics", "GET");
}

std::string MetricsRoute::answer() {
    metrics_.set_ready(sources_.ready());
    metrics_.set(sources_.front());
    {
        const std::lock_guard lock(mutex_);
        const std::int64_t now_ms = sources_.clock.now_ms();
        // A clock that was set back must not end the looking.
        if (now_ms - sampled_at_ms_ >= sample_every_ms || now_ms < sampled_at_ms_) {
            sampled_at_ms_ = now_ms;
            sample();
        }
    }
    return metrics_.text();
}

void MetricsRoute::sample() {
    try {
        const std::int64_t now_ms = sources_.clock.now_ms();
        if (!inspector_)
            inspector_ = std::make_unique<Inspector>(sources_.database, sources_.clock);
        metrics_.set(inspector_->backlog(), now_ms);
        const auto since = paid_without_account_since_ms(*inspector_);
        metrics_.set_paid_without_account(
            Ms(since ? std::max<std::int64_t>(0, now_ms - *since) : 0));
    } catch (const std::exception&) {
        // Too much is unfinished for a second's look, or the database is failing: the last values
        // stand, and this count says so.
        metrics_.count_failed_sample();
    }
    metrics_.set_sizes(size_of(sources_.database), size_of(sources_.database.string() + "-wal"));
}

}  // namespace steplog::server
