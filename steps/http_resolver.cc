// See http_resolver.h.
#include "steps/http_resolver.h"

#include <fmt/core.h>
#include <netdb.h>
#include <sys/socket.h>

#include <array>
#include <condition_variable>
#include <map>
#include <mutex>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "steps/address.h"

namespace steplog::steps {

namespace {
constexpr std::size_t lookups_max = 16;
}

struct Resolver::Pending {
    bool done = false;
    std::vector<std::string> addresses;
    std::string error;
};

struct Resolver::Shared {
    explicit Shared(AddressLookup by) : lookup(std::move(by)) {}
    const AddressLookup lookup;

    std::mutex mutex;  // guards what follows
    std::condition_variable_any finished;
    std::map<std::string, std::shared_ptr<Pending>> pending;
};

std::vector<std::string> look_up_by_system(const std::string& host) {
    addrinfo hints{};
    hints.ai_flags = AI_ADDRCONFIG;
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    const int error = getaddrinfo(host.c_str(), nullptr, &hints, &found);
    if (error != 0) throw std::runtime_error(gai_strerror(error));
    const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owner(found, &freeaddrinfo);
    std::vector<std::string> addresses;
    for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
        std::array<char, NI_MAXHOST> text{};
        if (getnameinfo(each->ai_addr, each->ai_addrlen, text.data(), text.size(), nullptr, 0,
                        NI_NUMERICHOST) == 0) {
            addresses.emplace_back(text.data());
        }
    }
    if (addresses.empty()) throw std::runtime_error("it has no usable address");
    return addresses;
}

Resolver::Resolver(AddressLookup lookup) : shared_(std::make_shared<Shared>(std::move(lookup))) {}

void Resolver::run(const std::shared_ptr<Shared>& shared, const std::string& host) {
    std::vector<std::string> addresses;
    std::string error;
    try {
        addresses = shared->lookup(host);
        if (addresses.empty()) error = "it has no address";
    } catch (const std::exception& failure) {
        error = failure.what();
    }
    const std::lock_guard lock(shared->mutex);
    const auto node = shared->pending.extract(host);
    node.mapped()->addresses = std::move(addresses);
    node.mapped()->error = std::move(error);
    node.mapped()->done = true;
    shared->finished.notify_all();
}

std::vector<std::string> Resolver::resolve(const std::string& host, const HttpAttempt& attempt) {
    if (is_ip_address(host)) return {host};
    if (host == "localhost") return {"127.0.0.1", "::1"};

    std::unique_lock lock(shared_->mutex);
    auto& entry = shared_->pending[host];
    if (!entry) {
        entry = std::make_shared<Pending>();
        try {
            if (shared_->pending.size() > lookups_max) {
                attempt.fail("", "too many look-ups of other names hang: check the name server");
            }
            std::thread([shared = shared_, host] { run(shared, host); }).detach();
        } catch (const std::system_error& error) {
            shared_->pending.erase(host);
            attempt.fail("", fmt::format("no thread for its look-up: {}", error.what()));
        } catch (const RetryableError&) {
            shared_->pending.erase(host);
            throw;
        }
    }
    const std::shared_ptr<Pending> pending = entry;
    shared_->finished.wait_until(lock, attempt.stop(), attempt.deadline(),
                                 [&] { return pending->done; });
    if (!pending->done) {
        attempt.check();
        attempt.fail("", "its look-up takes too long: check the name server");
    }
    if (!pending->error.empty()) {
        attempt.fail("", fmt::format("cannot find its address ({}): check the host in the settings "
                                     "and the name server",
                                     pending->error));
    }
    return pending->addresses;
}

}  // namespace steplog::steps
