// The one way out to providers. Every attempt ends by its deadline whatever the other side does,
// every reply is whole and bounded, and every failure says whether the request may have arrived.
// Used by the providers' clients; 64 workers call send() at once.
#pragma once

#include <memory>
#include <string>

#include "steps/http.h"
#include "steps/http_resolver.h"

namespace steplog::steps {

struct HttpClientOptions {
    Ms connect_timeout{3000};             // TCP only, all addresses of a host together
    std::size_t reply_max = 1024 * 1024;  // bytes of a reply's body; its head may have 64 KiB
    std::string ca_file = {};             // PEM; "": the system's certificates (or SSL_CERT_FILE)
    AddressLookup lookup = look_up_by_system;
};

class HttpClient : public HttpTransport {
  public:
    /// Throws std::runtime_error when ca_file cannot be used.
    explicit HttpClient(HttpClientOptions options = {});
    ~HttpClient() override;

    /// One request on a connection of its own; redirects are replies like others (so the key never
    /// goes to another host), proxies are not used, interim replies (1xx) are skipped. Returns
    /// shortly after request.timeout at the latest and soon after request.stop is asked to stop.
    ///
    /// Throws RetryableError. Refused, nothing of the request was sent: "dns", "no_connection",
    /// "tls". Unknown, it may have arrived: "timeout", "reset", "cut_reply", "oversized_reply",
    /// "interim_reply", "unparsable_reply". Either: "interrupted", with details().interrupted.
    /// Throws std::invalid_argument for a request that must not be sent (see parse_base_url and
    /// check_request). No text contains a target, a header, a body or more of an address than host
    /// and port.
    HttpReply send(const HttpRequest& request) override;

  private:
    struct Parts;
    std::unique_ptr<Parts> parts_;
};

}  // namespace steplog::steps
