// What hostile and honest clients need: connections that are slow on purpose, figures of how long
// good requests took, and a process's memory. Included by the slow tests of the front and the
// server.
#pragma once

#include <fmt/core.h>
#include <sys/types.h>

#include <algorithm>
#include <cerrno>
#include <deque>
#include <fstream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/server/front_support.h"

namespace steplog::testing {

/// Connections that send `first` and then a byte of `drip` whenever they are asked to; one that the
/// server ends is made anew.
class Attackers {
  public:
    Attackers(std::string address, int count, std::string first, std::string drip)
        : address_(std::move(address)),
          first_(std::move(first)),
          drip_(std::move(drip)),
          clients_(static_cast<std::size_t>(count)) {}

    void continue_all() {
        for (auto& client : clients_) {
            if (client && !has_ended(*client) && (drip_.empty() || client->send(drip_))) continue;
            client.emplace(address_);
            // Without waiting: most of a large beginning stays in the sender's buffer.
            ::send(client->socket(), first_.data(), first_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
            ++made_;
        }
    }
    int made() const { return made_; }

  private:
    static bool has_ended(RawClient& client) {
        char byte = 0;
        const ssize_t count = ::recv(client.socket(), &byte, 1, MSG_DONTWAIT);
        return count >= 0 || errno != EAGAIN;
    }

    const std::string address_, first_, drip_;
    std::deque<std::optional<RawClient>> clients_;
    int made_ = 0;
};

struct Figures {
    std::vector<double> took_ms;
    int failed = 0;

    double quantile(double q) {
        std::sort(took_ms.begin(), took_ms.end());
        return took_ms.at(static_cast<std::size_t>(q * static_cast<double>(took_ms.size() - 1)));
    }
};

/// The most resident memory that a process ever had; -1 when it is gone.
inline long peak_kib(pid_t process) {
    std::ifstream status(fmt::format("/proc/{}/status", process));
    for (std::string word; status >> word;) {
        if (word != "VmHWM:") continue;
        long kib = 0;
        status >> kib;
        return kib;
    }
    return -1;
}

}  // namespace steplog::testing
