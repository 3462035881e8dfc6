// TLS for the front: the certificate, which may be replaced while serving, and one connection's
// bytes with or without encryption, never blocking. Certificates may be read from any thread; a
// Channel belongs to the reactor's.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

struct ssl_ctx_st;
struct ssl_st;

namespace steplog::server {

/// A certificate chain and its key, from PEM files. TLS 1.2 and 1.3, no renegotiation, compression,
/// session tickets or early data; HTTP/1.1 by ALPN.
class TlsCertificate {
  public:
    /// Throws std::runtime_error naming the file that cannot be used.
    TlsCertificate(std::string certificate_file, std::string key_file);

    /// Reads the files again; connections begun later use what they hold. Throws as the constructor
    /// does, and keeps what it had.
    void reload();

    std::shared_ptr<ssl_ctx_st> context() const;

  private:
    const std::string certificate_file_, key_file_;
    mutable std::mutex mutex_;
    std::shared_ptr<ssl_ctx_st> context_;  // guarded by mutex_
};

/// What became of an attempt to move bytes.
enum class Progress { done, wants_read, wants_write, ended, broken };

/// A connected, non-blocking socket, which it owns.
class Channel {
  public:
    /// `context` is null for plain TCP.
    Channel(int socket, const std::shared_ptr<ssl_ctx_st>& context);
    ~Channel();
    Channel(const Channel&) = delete;
    Channel& operator=(const Channel&) = delete;

    int socket() const { return socket_; }
    /// done at once without TLS.
    Progress handshake();
    /// done: 1 to `size` bytes were read. ended: the peer will send no more.
    Progress read(char* to, std::size_t size, std::size_t& count);
    /// done: 1 to all bytes were written.
    Progress write(std::string_view bytes, std::size_t& count);
    /// Bytes that were received and decrypted but not read: no event will announce them.
    bool has_buffered() const;
    /// Says that nothing more will be written. What cannot be said without waiting is not said.
    void finish_writing();
    /// Reads the socket beneath any TLS, to throw away what comes.
    Progress discard(char* to, std::size_t size, std::size_t& count);
    /// Makes the destructor reset the connection rather than end it.
    void reset_on_close();

  private:
    struct SslFree {
        void operator()(ssl_st* ssl) const;
    };
    Progress judge(int result);

    const int socket_;
    std::unique_ptr<ssl_st, SslFree> ssl_;
    bool established_ = false;
};

}  // namespace steplog::server
