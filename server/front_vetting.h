// What a request must look like before anything else of ours reads it: a pure function over the
// bytes received so far, stricter than RFC 9112 wherever leniency has been an attack. Used by the
// reactor and by a fuzzer; holds no state, any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace steplog::server {

struct VettingLimits {
    std::size_t header_bytes_max = 16 * 1024;
    std::size_t header_lines_max = 64;
    std::size_t line_max = 8 * 1024;
    std::size_t target_max = 2048;
    std::size_t body_max = 1024 * 1024;
};

/// A request's head that was found good.
struct VettedRequest {
    std::string method;  // GET, HEAD or POST
    std::string target;  // origin form, percent-encoded; decoded it is UTF-8 without control
                         // characters and dot segments
    /// The headers routes may see, names in lower case, values trimmed: host, content-type,
    /// content-length, stripe-signature, authorization, origin, cookie, user-agent, accept,
    /// sec-fetch-site, x-steplog-csrf, x-forwarded-for, x-forwarded-proto, svix-*, webhook-*. More
    /// than one Authorization arrives as the one value "ambiguous", which is no key.
    /// Stripe-Signatures arrive as often as they were sent: the webhook refuses all but one.
    std::vector<std::pair<std::string, std::string>> headers;
    std::size_t content_length = 0;
    bool expects_continue = false;
    bool keep_alive = false;
};

struct Verdict {
    enum class Kind {
        incomplete,  // good so far; ask again with more bytes
        refused,     // answer `status` and close
        accepted
    };
    Kind kind = Kind::incomplete;
    int status = 0;               // refused
    std::string_view error;       // refused: what is wrong and what is accepted; a literal, holds
                                  // nothing of the request
    bool head_only = false;       // refused: the request is a HEAD, so the answer has no body
    std::size_t line_begins = 0;  // incomplete: where the line that has no end yet begins
    std::size_t head_bytes = 0;   // accepted: where the body begins
    VettedRequest request;        // accepted
};

/// Judges `bytes`, which begin with a request. Never reads past what it is given, and says
/// `incomplete` for at most header_bytes_max bytes.
Verdict vet(std::string_view bytes, const VettingLimits& limits);

/// Whether `vet` is sure to find `bytes` incomplete, when it found their first `vetted` bytes so
/// and gave `line_begins`. Looks at the new bytes only: whoever sends one at a time must not have
/// the whole head read for each.
bool is_still_incomplete(std::string_view bytes, std::size_t vetted, std::size_t line_begins,
                         const VettingLimits& limits);

}  // namespace steplog::server
