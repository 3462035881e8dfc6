// See front.h: puts the parts together and owns the reactor's thread.
#include "server/front.h"

#include <fmt/core.h>

#include <algorithm>
#include <stdexcept>
#include <thread>
#include <utility>

#include "server/front_reactor.h"

namespace steplog::server {

namespace {

constexpr std::size_t body_hard_max = 16 * 1024 * 1024;

FrontOptions checked(FrontOptions options) {
    if (options.body_max > body_hard_max) {
        throw std::runtime_error(
            "STEPLOG_MAX_BODY: at most 16MiB; a request is held in memory as a whole");
    }
    if (options.tls_cert.empty() != options.tls_key.empty()) {
        throw std::runtime_error(
            "TLS_CERT and TLS_KEY must be set together, or neither for plain HTTP");
    }
    if (options.workers < 1 || options.queue_max < 1 || options.connections_max < 1) {
        throw std::runtime_error("workers, queue_max and connections_max must be at least 1");
    }
    parse_listen(options.listen);
    return options;
}

std::unique_ptr<TlsCertificate> certificate_of(const FrontOptions& options) {
    if (options.tls_cert.empty()) return nullptr;
    return std::make_unique<TlsCertificate>(options.tls_cert, options.tls_key);
}

}  // namespace

struct Front::Inside {
    explicit Inside(FrontOptions options_)
        : options(checked(std::move(options_))),
          trusted(options.trusted_proxies),
          tls(certificate_of(options)),
          routes(options.body_max, static_cast<int>(options.idle_deadline.count() / 1000),
                 options.requests_per_connection_max),
          reactor(options, trusted, routes, tls.get()) {}

    const FrontOptions options;
    const AddressRanges trusted;
    const std::unique_ptr<TlsCertificate> tls;
    Routes routes;
    Reactor reactor;
    std::mutex mutex;
    std::thread thread;  // guarded by mutex
};

Front::Front(FrontOptions options) : inside_(std::make_unique<Inside>(std::move(options))) {}

Front::~Front() { drain(Ms(0)); }

httplib::Server& Front::routes() { return inside_->routes.server(); }

void Front::start() {
    const std::lock_guard lock(inside_->mutex);
    inside_->reactor.open();
    const SignalsBlocked blocked;
    inside_->thread = std::thread([reactor = &inside_->reactor] { reactor->run(); });
}

std::string Front::address() const { return inside_->reactor.address(); }

void Front::drain(Ms grace) {
    const std::lock_guard lock(inside_->mutex);
    if (!inside_->thread.joinable()) return;
    inside_->reactor.drain(std::chrono::steady_clock::now() + grace);
    inside_->thread.join();
    inside_->reactor.stop_workers();
}

void Front::reload_tls() {
    if (inside_->tls) inside_->tls->reload();
}

bool Front::is_exempt(std::string_view address) const {
    const auto parsed = parse_address(address);
    if (!parsed) return false;
    const bool loopback = inside_->options.exempt_loopback && parsed->is_loopback();
    return loopback || inside_->trusted.contains(*parsed);
}

FrontStats Front::stats() const { return inside_->reactor.stats(); }

}  // namespace steplog::server
