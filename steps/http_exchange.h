// One request and its reply over a channel, in HTTP/1.1. cpp-httplib writes the request and takes
// the reply apart; ReplyFrame lets it see only what is whole, bounded and unambiguous. Used by
// HttpClient and the fuzzer; one thread an exchange.
#pragma once

#include <string_view>

#include "steps/address.h"
#include "steps/http.h"

namespace steplog::steps {

/// A way for bytes to a provider and back. Both throw RetryableError.
class Channel {
  public:
    virtual ~Channel() = default;
    virtual void send(std::string_view bytes) = 0;
    /// At least one byte, or 0 when the other side has ended.
    virtual std::size_t receive(char* buffer, std::size_t size) = 0;
};

/// Throws std::invalid_argument for what must not be sent: another method than GET, POST, PUT,
/// PATCH or DELETE, a target or a header with spaces or control characters where they could begin
/// something new, and headers that are this client's own (Host, Content-Length, …). The values,
/// which may be secret, are not repeated in the text.
void check_request(const HttpRequest& request);

/// Sends a checked request and returns its reply, whose body has at most `reply_max` bytes. Throws
/// RetryableError (unknown): cut_reply, oversized_reply, interim_reply, unparsable_reply, reset;
/// and what the channel throws.
HttpReply exchange(Channel& channel, const HttpRequest& request, const BaseUrl& base,
                   std::size_t reply_max);

}  // namespace steplog::steps
