// From a host's name to its addresses, by a deadline. A look-up cannot be stopped, so it runs on a
// thread of its own that may be left behind. Used by HttpClient; any thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "steps/http_attempt.h"

namespace steplog::steps {

/// A host's addresses in numbers, best first. Throws std::runtime_error, saying why, if there are
/// none. May block for as long as it likes.
using AddressLookup = std::function<std::vector<std::string>(const std::string& host)>;

/// getaddrinfo.
std::vector<std::string> look_up_by_system(const std::string& host);

class Resolver {
  public:
    explicit Resolver(AddressLookup lookup);

    /// Addresses are returned as they are; localhost is 127.0.0.1 and ::1 whatever anyone says (RFC
    /// 6761, 6.3). Callers who ask for a name that is being looked up share that look-up, so no
    /// more threads are left behind than there are hosts, and at most 16. Throws RetryableError
    /// (refused, "dns"; or interrupted) at the attempt's deadline at the latest.
    std::vector<std::string> resolve(const std::string& host, const HttpAttempt& attempt);

  private:
    struct Pending;
    struct Shared;
    static void run(const std::shared_ptr<Shared>& shared, const std::string& host);

    std::shared_ptr<Shared> shared_;  // with the threads that are still looking up
};

}  // namespace steplog::steps
