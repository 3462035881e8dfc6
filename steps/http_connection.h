// A connection to a provider: TCP, and TLS that verifies who answers. Every wait in it ends by the
// attempt's deadline or its stop token. Made and used by one thread, for one request.
#pragma once

#include <openssl/types.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "steps/address.h"
#include "steps/http_attempt.h"
#include "steps/http_exchange.h"

namespace steplog::steps {

/// What all TLS connections share: TLS 1.2 or newer, the peer always verified. Any thread.
class TlsContext {
  public:
    /// Trusts the certificates in `ca_file`; if it is "", the system's (SSL_CERT_FILE and
    /// SSL_CERT_DIR are honoured). Throws std::runtime_error if the file cannot be used.
    explicit TlsContext(const std::string& ca_file);
    SSL_CTX* get() const { return context_.get(); }

  private:
    std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context_;
};

class Connection : public Channel {
  public:
    /// Connects to the first address that answers within `connect_timeout` (for all of them
    /// together) and, for https, shakes hands: the certificate must be valid now, by a trusted CA,
    /// and name the host or address in its subjectAltName (its CN does not count). Throws
    /// RetryableError, always refused: no_connection, tls, interrupted.
    Connection(HttpAttempt& attempt, const TlsContext& tls, const BaseUrl& base,
               const std::vector<std::string>& addresses, Ms connect_timeout);
    ~Connection() override;
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    /// From the first call on every failure is unknown rather than refused.
    void send(std::string_view bytes) override;
    std::size_t receive(char* buffer, std::size_t size) override;

  private:
    bool connect_to(const std::string& address, int port, HttpAttempt::Time until,
                    std::string& why);
    void shake_hands(const TlsContext& tls, const std::string& host);
    int drive_tls(const std::function<int()>& operation);
    bool receive_tls_records();
    void send_tls_records();
    [[noreturn]] void fail_tls();

    void send_bytes(std::string_view bytes);
    std::size_t receive_bytes(char* buffer, std::size_t size);

    HttpAttempt& attempt_;
    int socket_ = -1;
    std::unique_ptr<SSL, void (*)(SSL*)> ssl_;  // null for plain http
    BIO* arrived_ = nullptr;                    // ssl_'s, TLS records from the peer
    BIO* leaving_ = nullptr;                    // ssl_'s, TLS records for the peer
};

}  // namespace steplog::steps
