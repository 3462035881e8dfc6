// The running sandbox over real sockets: what a client sees of each fault, the control API,
// deliveries.
#include "tools/sandbox/service.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <list>

#include "tests/sandbox/client.h"

namespace steplog::sandbox {
namespace {

using ::testing::HasSubstr;

/// Everything that comes back for these bytes, and how it ended.
struct Raw {
    std::string received;
    std::string end;  // "closed", "reset", "refused", "silent"
};

/// One connection to a port on loopback; closed at the end.
class Socket {
  public:
    explicit Socket(int port, Ms patience = Ms(5000))
        : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        const timeval wait{.tv_sec = patience.count() / 1000,
                           .tv_usec = static_cast<suseconds_t>(patience.count() % 1000 * 1000)};
        ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(static_cast<std::uint16_t>(port));
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        connected_ = ::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
    }
    ~Socket() { ::close(socket_); }
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;

    bool connected() const { return connected_; }
    void send(const std::string& bytes) {
        ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    }
    Raw read_all() {
        Raw raw;
        std::array<char, 65536> chunk;
        while (raw.end.empty()) {
            const ssize_t got = ::recv(socket_, chunk.data(), chunk.size(), 0);
            if (got > 0) raw.received.append(chunk.data(), static_cast<std::size_t>(got));
            if (got == 0) raw.end = "closed";
            if (got < 0) raw.end = errno == ECONNRESET ? "reset" : "silent";
        }
        return raw;
    }

  private:
    int socket_;
    bool connected_ = false;
};

Raw exchange_raw(int port, const std::string& bytes, Ms patience = Ms(5000)) {
    Socket socket(port, patience);
    if (!socket.connected()) return {.received = "", .end = "refused"};
    socket.send(bytes);
    return socket.read_all();
}

std::string post(const std::string& target, const std::string& body,
                 const std::string& extra = "Connection: close\r\n") {
    return "POST " + target + " HTTP/1.1\r\nHost: sandbox\r\nAuthorization: Bearer sk_test_x\r\n" +
           extra + "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

const std::string create = post("/v1/users", to_text(new_user("ada@example.com")));

int port_of(const std::string& base) { return std::stoi(base.substr(base.rfind(':') + 1)); }

Json ask(const Service& service, const std::string& method, const std::string& path,
         const Json& body = nullptr) {
    const HttpAnswer answer =
        http_call(method, service.base() + path, {}, body.is_null() ? "" : to_text(body), Ms(5000));
    EXPECT_EQ(answer.status, 200) << answer.error << answer.body;
    return Json::parse(answer.body, nullptr, false);
}

TEST(Service, RoutesByPathOnOnePort) {
    Service service({});
    const int port = port_of(service.base());
    EXPECT_THAT(exchange_raw(port, create).received, HasSubstr("\"object\":\"user\""));
    EXPECT_THAT(exchange_raw(port, post("/v1/customers", "name=A")).received,
                HasSubstr("\"object\":\"customer\""));
    EXPECT_THAT(exchange_raw(port, post("/emails", "{}")).received, HasSubstr("\"statusCode\""));
    EXPECT_EQ(service.base(Provider::clerk), service.base());
}

TEST(Service, MisbehavesOnTheWireAsToldTo) {
    Service service({});
    const int port = port_of(service.base());
    const auto struck = [&](const Fault& fault, Ms patience = Ms(5000)) {
        service.sandbox().reset();
        service.sandbox().add_fault(fault);
        return exchange_raw(port, create, patience);
    };
    const auto users = [&] { return service.sandbox().users().size(); };

    Raw raw = struck({.kind = FaultKind::reset});
    EXPECT_EQ(raw.end, "reset");
    EXPECT_EQ(users(), 0u);
    raw = struck({.kind = FaultKind::lost_answer});
    EXPECT_EQ(raw.end, "reset");
    EXPECT_EQ(raw.received, "");
    EXPECT_EQ(users(), 1u);
    EXPECT_EQ(struck({.kind = FaultKind::down}).end, "reset");
    EXPECT_EQ(users(), 0u);

    raw = struck({.kind = FaultKind::truncated});
    EXPECT_EQ(raw.end, "closed");
    const auto length_at = raw.received.find("Content-Length: ");
    ASSERT_NE(length_at, std::string::npos);
    const std::size_t promised = std::stoul(raw.received.substr(length_at + 16));
    EXPECT_LT(raw.received.size() - raw.received.find("\r\n\r\n") - 4, promised);
    EXPECT_EQ(users(), 1u);

    raw = struck({.kind = FaultKind::interim});
    EXPECT_THAT(raw.received, ::testing::StartsWith("HTTP/1.1 103 "));
    EXPECT_THAT(raw.received, HasSubstr("HTTP/1.1 200 OK"));
    raw = struck({.kind = FaultKind::interim_only});
    EXPECT_EQ(raw.received.find("HTTP/1.1 200"), std::string::npos);
    EXPECT_GT(struck({.kind = FaultKind::oversized}).received.size(), 2u * 1024 * 1024);
    EXPECT_THAT(struck({.kind = FaultKind::garbage}).received, HasSubstr("<html>"));
    raw = struck({.kind = FaultKind::rate_limited, .retry_after_s = 3});
    EXPECT_THAT(raw.received, HasSubstr("HTTP/1.1 429 "));
    EXPECT_THAT(raw.received, HasSubstr("Retry-After: 3"));
    EXPECT_EQ(struck({.kind = FaultKind::hang}, Ms(50)).end, "silent");

    const auto begun = std::chrono::steady_clock::now();
    raw = struck({.kind = FaultKind::slow, .delay = Ms(60)});
    EXPECT_GE(std::chrono::steady_clock::now() - begun, Ms(60));
    EXPECT_THAT(raw.received, HasSubstr("HTTP/1.1 200 OK"));
}

TEST(Service, KeepsAConnectionAndCountsWhatIsOpenAtOnce) {
    Service service({});
    const int port = port_of(service.base());
    const std::string two = post("/v1/customers", "name=A", "") + post("/v1/customers", "name=B");
    const Raw raw = exchange_raw(port, two);
    EXPECT_THAT(raw.received, HasSubstr("\"name\":\"A\""));
    EXPECT_THAT(raw.received, HasSubstr("\"name\":\"B\""));

    service.sandbox().add_fault({.kind = FaultKind::hang});
    std::list<Socket> open;
    for (int i = 0; i < 16; ++i) open.emplace_back(port).send(post("/v1/customers", "name=C"));
    while (service.sandbox().concurrent_max(Provider::stripe) < 16) std::this_thread::yield();
}

TEST(Service, HoldsAKeyWhileItsFirstAnswerIsOnTheWay) {
    Service service({});
    const int port = port_of(service.base());
    service.sandbox().add_fault({.kind = FaultKind::hang, .times = 1, .effect = true});
    const std::string request =
        post("/v1/customers", "name=A", "Idempotency-Key: k1\r\nConnection: close\r\n");
    std::optional<Socket> first(std::in_place, port);
    first->send(request);
    while (service.sandbox().effects().empty()) std::this_thread::yield();
    EXPECT_THAT(exchange_raw(port, request).received, HasSubstr("idempotency_key_in_use"));
    first.reset();  // the client gives up
    std::string again;
    while (again.find("Idempotent-Replayed: true") == std::string::npos) {
        again = exchange_raw(port, request).received;
    }
    EXPECT_EQ(service.sandbox().effects().at("k1"), 1);
}

TEST(Service, RefusesConnectionsOfAProviderThatIsDownOnItsOwnPort) {
    ServiceOptions options;
    options.separate_ports = true;
    Service service(std::move(options));
    const int port = port_of(service.base(Provider::clerk));
    EXPECT_NE(port, port_of(service.base(Provider::stripe)));
    EXPECT_THAT(exchange_raw(port, create).received, HasSubstr("200 OK"));
    ask(service, "POST", "/_sandbox/faults", {{"kind", "down"}, {"provider", "clerk"}});
    EXPECT_EQ(exchange_raw(port, create).end, "refused");
    ask(service, "DELETE", "/_sandbox/faults?provider=clerk");
    EXPECT_THAT(exchange_raw(port, create).received, HasSubstr("form_identifier_exists"));
}

TEST(Service, IsControlledOverHttp) {
    Service service({});
    const Json bought = ask(service, "POST", "/_sandbox/purchase",
                            {{"email", "eve@example.com"}, {"metadata", {{"plan", "pro"}}}});
    EXPECT_EQ(bought.at("events").size(), 6u);
    const Json first = Json::parse(string_at(bought.at("events")[0], "body"));
    EXPECT_EQ(first.at("data").at("object").at("email"), "eve@example.com");
    ask(service, "POST", "/_sandbox/users", {{"email", "eve@example.com"}, {"verified", false}});
    ask(service, "POST", "/_sandbox/users/verify", {{"email", "eve@example.com"}});
    const Json state = ask(service, "GET", "/_sandbox/state");
    EXPECT_EQ(state.at("counts").at("users"), 1);
    EXPECT_EQ(state.at("counts").at("events"), 6);
    EXPECT_EQ(state.at("customers")[0].at("id"), bought.at("customer"));
    EXPECT_FALSE(ask(service, "GET", "/_sandbox/state?full=false").contains("users"));
    ask(service, "POST", "/_sandbox/renewal", {{"subscription", bought.at("subscription")}});
    ask(service, "POST", "/_sandbox/reset");
    EXPECT_EQ(ask(service, "GET", "/_sandbox/state").at("counts").at("users"), 0);

    const auto refused = [&](const std::string& path, const Json& body) {
        return http_call("POST", service.base() + path, {}, to_text(body), Ms(5000));
    };
    EXPECT_EQ(refused("/_sandbox/faults", {{"kind", "flood"}}).status, 400);
    EXPECT_THAT(refused("/_sandbox/purchase", {{"colour", "red"}}).body, HasSubstr("colour"));
    EXPECT_EQ(refused("/_sandbox/nothing", Json::object()).status, 404);
}

TEST(Service, DeliversPurchasesAndWhatWritesCause) {
    std::mutex mutex;
    std::vector<Json> received;
    HttpServer webhook("127.0.0.1:0", [&](const SandboxRequest& request) {
        const std::scoped_lock lock(mutex);
        Served served;
        const std::string header = header_of(request.headers, "Stripe-Signature");
        const std::int64_t t = std::stoll(header.substr(2));
        const bool genuine = header == stripe_signature(request.body, {"whsec_test"}, t);
        received.push_back(Json::parse(request.body));
        // Each event is refused once: only the second try counts.
        int times = 0;
        for (const Json& event : received) times += event.at("id") == received.back().at("id");
        const bool good = genuine && times > 1;
        served.reply = json_reply(good ? 200 : 503, {{"received", good}});
        return served;
    });
    ServiceOptions options;
    options.sender.url = webhook.base() + "/api/stripe-webhook";
    options.sender.secrets = {"whsec_test"};
    options.sender.backoff_base = Ms(1);
    Service service(std::move(options));
    const Json bought = ask(service, "POST", "/_sandbox/purchase", {{"shuffle", true}});
    EXPECT_EQ(bought.at("deliveries"), 6);
    EXPECT_EQ(ask(service, "POST", "/_sandbox/wait", {{"timeout_ms", 5000}}).at("idle"), true);
    exchange_raw(port_of(service.base()), post("/v1/customers/" + string_at(bought, "customer"),
                                               "metadata[clerk_user_id]=user_1"));
    ask(service, "POST", "/_sandbox/wait", {{"timeout_ms", 5000}});
    const Json deliveries = ask(service, "GET", "/_sandbox/deliveries");
    EXPECT_EQ(deliveries.at("acknowledgements").size(), 7u);
    for (const Json& one : deliveries.at("acknowledgements")) {
        EXPECT_EQ(one.at("status"), 200);
        EXPECT_EQ(one.at("attempts"), 2);
    }
    EXPECT_EQ(received.back().at("type"), "customer.updated");
    const Json state = ask(service, "GET", "/_sandbox/state");
    for (const Json& event : state.at("events")) EXPECT_EQ(event.at("delivered"), true);
    ask(service, "POST", "/_sandbox/send", {{"type", "invoice.paid"}, {"copies", 2}});
    ask(service, "POST", "/_sandbox/wait", {{"timeout_ms", 5000}});
    EXPECT_EQ(received.back().at("type"), "invoice.paid");
}

TEST(Service, RefusesAddressesBeyondLoopbackAndPortsInUse) {
    ServiceOptions options;
    options.listen = "0.0.0.0:0";
    EXPECT_THROW(Service{options}, std::runtime_error);
    options.listen = "nonsense";
    EXPECT_THROW(Service{options}, std::runtime_error);
    Service first({});
    options.listen = first.base().substr(7);
    EXPECT_THROW(Service{options}, std::runtime_error);
}

}  // namespace
}  // namespace steplog::sandbox
