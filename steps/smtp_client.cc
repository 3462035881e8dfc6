// See smtp_client.h.
#include "steps/smtp_client.h"

#include <curl/curl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <set>
#include <stdexcept>

#include "steps/mail_header.h"

namespace steplog::steps {
namespace {

struct FreeList {
    void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using List = std::unique_ptr<curl_slist, FreeList>;
using Easy = std::unique_ptr<CURL, decltype(&curl_easy_cleanup)>;
using Mime = std::unique_ptr<curl_mime, decltype(&curl_mime_free)>;

[[noreturn]] void fail(CURLcode code) {
    throw std::runtime_error(fmt::format("libcurl: {}", curl_easy_strerror(code)));
}

void expect_ok(CURLcode code) {
    if (code != CURLE_OK) fail(code);
}

template <class Value>
void set(CURL* curl, CURLoption option, Value value) {
    expect_ok(curl_easy_setopt(curl, option, value));
}

void append(List& list, const std::string& line) {
    curl_slist* const longer = curl_slist_append(list.get(), line.c_str());
    if (longer == nullptr) fail(CURLE_OUT_OF_MEMORY);
    static_cast<void>(list.release());
    list.reset(longer);
}

// libcurl tells what it says and hears; the message itself is told apart.
int listen(CURL* /*curl*/, curl_infotype kind, char* data, std::size_t size, void* dialogue) {
    auto& heard = *static_cast<SmtpDialogue*>(dialogue);
    if (kind == CURLINFO_HEADER_OUT) heard.we_said({data, size});
    if (kind == CURLINFO_HEADER_IN) heard.they_said({data, size});
    return 0;
}

/// Until when libcurl may go on. Its own time-out does not hold for its goodbye.
struct Patience {
    const std::stop_token& stop;
    std::chrono::steady_clock::time_point until;
    bool is_over() const {
        return stop.stop_requested() || std::chrono::steady_clock::now() >= until;
    }
};

int should_end(void* patience, curl_off_t /*down*/, curl_off_t /*downloaded*/, curl_off_t /*up*/,
               curl_off_t /*uploaded*/) {
    return static_cast<const Patience*>(patience)->is_over() ? 1 : 0;
}

/// The attempt's sockets that are open. libcurl would wait two minutes for an answer to its goodbye
/// from a server that has stopped answering: such a connection is cut first.
class Sockets {
  public:
    static curl_socket_t open(void* self, curlsocktype /*purpose*/, curl_sockaddr* address) {
        const int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
        if (fd >= 0) static_cast<Sockets*>(self)->open_.insert(fd);
        return fd < 0 ? CURL_SOCKET_BAD : fd;
    }
    static int close(void* self, curl_socket_t fd) {
        static_cast<Sockets*>(self)->open_.erase(fd);
        return ::close(fd);
    }
    void cut() {
        for (const int fd : open_) shutdown(fd, SHUT_RDWR);
    }

  private:
    std::set<int> open_;
};

void add_part(curl_mime* mime, const std::string& body, const char* type) {
    curl_mimepart* const part = curl_mime_addpart(mime);
    if (part == nullptr) fail(CURLE_OUT_OF_MEMORY);
    const std::string lines = with_crlf(body);
    expect_ok(curl_mime_data(part, lines.data(), lines.size()));
    expect_ok(curl_mime_type(part, type));
    expect_ok(curl_mime_encoder(part, "quoted-printable"));
}

/// All that belongs to one attempt, freed in the right order.
class Attempt {
  public:
    Attempt(const SmtpServer& server, const SmtpClientOptions& options, const Mail& mail)
        : easy_(curl_easy_init(), &curl_easy_cleanup),
          mime_(easy_ ? curl_mime_init(easy_.get()) : nullptr, &curl_mime_free) {
        if (!easy_ || !mime_) fail(CURLE_OUT_OF_MEMORY);
        reach(server, options);
        address(mail);
        write(mail);
    }

    SmtpEnd run(Ms timeout, const std::stop_token& stop) {
        SmtpEnd end;
        CURL* const curl = easy_.get();
        set(curl, CURLOPT_VERBOSE, 1L);
        set(curl, CURLOPT_DEBUGFUNCTION, &listen);
        set(curl, CURLOPT_DEBUGDATA, static_cast<void*>(&end.dialogue));
        set(curl, CURLOPT_NOPROGRESS, 0L);
        Patience patience{stop, std::chrono::steady_clock::now() + timeout};
        set(curl, CURLOPT_XFERINFOFUNCTION, &should_end);
        set(curl, CURLOPT_XFERINFODATA, static_cast<void*>(&patience));
        set(curl, CURLOPT_TIMEOUT_MS, std::max<long>(1, timeout.count()));
        set(curl, CURLOPT_CONNECTTIMEOUT_MS, std::max<long>(1, timeout.count()));
        end.kind = meaning(curl_easy_perform(curl), end.dialogue);
        if (end.kind == SmtpEnd::Kind::interrupted && !stop.stop_requested())
            end.kind = SmtpEnd::Kind::timeout;
        if (end.kind != SmtpEnd::Kind::taken) sockets_.cut();
        easy_.reset();  // says goodbye, where there is anybody left
        return end;
    }

  private:
    void reach(const SmtpServer& server, const SmtpClientOptions& options) {
        CURL* const curl = easy_.get();
        const bool implicit = server.tls == SmtpServer::Tls::implicit;
        const bool starttls = server.tls == SmtpServer::Tls::starttls;
        const std::string url = fmt::format("{}://{}/{}", implicit ? "smtps" : "smtp",
                                            server.authority(), server.own_name);
        set(curl, CURLOPT_URL, url.c_str());
        set(curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
        set(curl, CURLOPT_PROXY, "");
        set(curl, CURLOPT_NOSIGNAL, 1L);
        set(curl, CURLOPT_OPENSOCKETFUNCTION, &Sockets::open);
        set(curl, CURLOPT_OPENSOCKETDATA, static_cast<void*>(&sockets_));
        set(curl, CURLOPT_CLOSESOCKETFUNCTION, &Sockets::close);
        set(curl, CURLOPT_CLOSESOCKETDATA, static_cast<void*>(&sockets_));
        set(curl, CURLOPT_USE_SSL, static_cast<long>(starttls ? CURLUSESSL_ALL : CURLUSESSL_NONE));
        set(curl, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
        if (!options.ca_file.empty()) set(curl, CURLOPT_CAINFO, options.ca_file.c_str());
        if (server.user.empty()) return;
        set(curl, CURLOPT_USERNAME, server.user.c_str());
        set(curl, CURLOPT_PASSWORD, server.password.c_str());
        // A user named like an address would make libcurl try Kerberos where the server offers it.
        set(curl, CURLOPT_LOGIN_OPTIONS, "AUTH=PLAIN;AUTH=LOGIN");
    }

    void address(const Mail& mail) {
        for (const std::string& recipient : mail.recipients) append(recipients_, recipient);
        set(easy_.get(), CURLOPT_MAIL_FROM, mail.sender.c_str());
        set(easy_.get(), CURLOPT_MAIL_RCPT, recipients_.get());
    }

    void write(const Mail& mail) {
        for (const auto& [name, value] : mail.headers)
            append(headers_, fmt::format("{}: {}", name, value));
        append(headers_, "Content-Type: multipart/alternative");
        set(easy_.get(), CURLOPT_HTTPHEADER, headers_.get());
        add_part(mime_.get(), mail.text, "text/plain; charset=utf-8");
        if (!mail.html.empty()) add_part(mime_.get(), mail.html, "text/html; charset=utf-8");
        set(easy_.get(), CURLOPT_MIMEPOST, mime_.get());
    }

    static SmtpEnd::Kind meaning(CURLcode code, const SmtpDialogue& dialogue) {
        using Kind = SmtpEnd::Kind;
        // What the server said counts for more than what libcurl makes of it.
        if (code == CURLE_OK || (dialogue.may_have_taken() && dialogue.code() / 100 == 2))
            return Kind::taken;
        if (dialogue.code() >= 400) return Kind::answered;
        switch (code) {
            case CURLE_COULDNT_RESOLVE_HOST:
                return Kind::dns;
            case CURLE_COULDNT_CONNECT:
                return Kind::no_connection;
            case CURLE_USE_SSL_FAILED:
                return Kind::no_starttls;
            case CURLE_SSL_CONNECT_ERROR:
            case CURLE_PEER_FAILED_VERIFICATION:
            case CURLE_SSL_CACERT_BADFILE:
            case CURLE_SSL_CERTPROBLEM:
            case CURLE_SSL_CIPHER:
            case CURLE_SSL_ISSUER_ERROR:
                return Kind::tls;
            case CURLE_LOGIN_DENIED:
                return Kind::login;
            case CURLE_OPERATION_TIMEDOUT:
                return Kind::timeout;
            case CURLE_ABORTED_BY_CALLBACK:
                return Kind::interrupted;
            default:
                return Kind::lost;
        }
    }

    Sockets sockets_;
    List recipients_, headers_;
    Easy easy_;
    Mime mime_;
};

}  // namespace

SmtpClient::SmtpClient(SmtpServer server, SmtpClientOptions options)
    : server_(std::move(server)), options_(std::move(options)) {
    static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
    expect_ok(ready);
}

SmtpEnd SmtpClient::send(const Mail& mail, Ms timeout, const std::stop_token& stop) const {
    return Attempt(server_, options_, mail).run(timeout, stop);
}

}  // namespace steplog::steps
