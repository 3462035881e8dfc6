// See http_client.h.
#include "steps/http_client.h"

#include "steps/http_connection.h"

namespace steplog::steps {

struct HttpClient::Parts {
    explicit Parts(HttpClientOptions from)
        : options(std::move(from)), tls(options.ca_file), resolver(options.lookup) {}
    const HttpClientOptions options;
    const TlsContext tls;
    Resolver resolver;
};

HttpClient::HttpClient(HttpClientOptions options)
    : parts_(std::make_unique<Parts>(std::move(options))) {}

HttpClient::~HttpClient() = default;

HttpReply HttpClient::send(const HttpRequest& request) {
    const BaseUrl base = parse_base_url(request.base);
    check_request(request);
    HttpAttempt attempt(base.authority(), request.timeout, request.stop);
    attempt.check();
    const auto addresses = parts_->resolver.resolve(base.host, attempt);
    Connection connection(attempt, parts_->tls, base, addresses, parts_->options.connect_timeout);
    return exchange(connection, request, base, parts_->options.reply_max);
}

}  // namespace steplog::steps
