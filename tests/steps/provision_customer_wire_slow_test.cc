// The flagship workflow over real sockets and TLS, by the real client: what a provider, or somebody
// in between, can do to an answer is done to each request of a run in turn. It still comes to one
// account, both links and one e-mail, each effect once, and no key goes to another host.
#include <fmt/core.h>
#include <unistd.h>

#include <atomic>
#include <sstream>

#include "steps/http_client.h"
#include "tests/steps/certificates.h"
#include "tests/steps/hostile_server.h"
#include "tests/steps/provision_world.h"

namespace steplog::steps {
namespace {

using testing::Certificate;
using testing::HostileServer;
using testing::make_certificate;
using testing::Peer;

// Done to one request. The effect happens first, but for "dropped before" and the refusals.
enum class Trick {
    late,
    dropped_before,
    dropped_after,
    reset_after,
    too_many,
    unavailable,
    unauthorized,
    hang,
    dripping_head,
    dripping_body,
    endless_body,
    gzip_bomb,
    cut_json,
    cut_body,
    early_hints,
    only_early_hints,
    redirect,
    wrong_host,
    expired,
    unknown_authority
};
constexpr int tricks = static_cast<int>(Trick::unknown_authority) + 1;

bool is_of_certificates(Trick trick) { return trick >= Trick::wrong_host; }
bool is_before_the_effect(Trick trick) {
    return trick == Trick::dropped_before || trick == Trick::too_many ||
           trick == Trick::unavailable || trick == Trick::unauthorized || trick == Trick::redirect;
}

std::string head(int status, const std::string& more, std::size_t length) {
    return fmt::format(
        "HTTP/1.1 {} X\r\nContent-Type: application/json\r\n{}Content-Length: {}\r\n\r\n", status,
        more, length);
}

sandbox::SandboxRequest parse(const std::string& text) {
    const auto end = text.find("\r\n\r\n");
    std::istringstream lines(text.substr(0, end));
    sandbox::SandboxRequest request;
    std::string line;
    lines >> request.method >> request.target;
    std::getline(lines, line);
    while (std::getline(lines, line)) {
        const auto colon = line.find(": ");
        if (!line.empty() && line.back() == '\r') line.pop_back();
        if (colon != std::string::npos)
            request.headers.emplace_back(line.substr(0, colon), line.substr(colon + 2));
    }
    request.body = text.substr(end + 4);
    return request;
}

class ProvisionCustomerOverTheWire : public testing::ProvisionWorld {
  protected:
    ProvisionCustomerOverTheWire() {
        testing::write_pem(authority_, ca_file_);
        client_ = std::make_unique<HttpClient>(HttpClientOptions{
            .ca_file = ca_file_, .lookup = [](const std::string&) -> std::vector<std::string> {
                return {"127.0.0.1"};
            }});
        server_ = std::make_unique<HostileServer>([this](Peer& peer) { serve(peer); }, tls());
        const auto base = [this](const std::string& name) {
            return fmt::format("https://{}.sandbox:{}", name, server_->port());
        };
        wire_email_ = std::make_unique<ResendSender>(
            *client_, clock, ResendOptions{.base = base("resend"), .api_key = "re_test"});
        wire_ = std::make_unique<Providers>(Providers{
            .stripe = {*client_, clock, {.base = base("stripe"), .secret_key = "sk_test_stripe"}},
            .clerk = {*client_, clock, {.base = base("clerk"), .secret_key = "sk_test_clerk"}},
            .email = wire_email_.get(),
            .app_url = "https://app.example.com",
            .email_from = "Acme <hello@acme.example>",
            .email_reply_to = "",
            .livemode = false});
        Registry registry;
        register_provision_customer(registry, *wire_);
        engine = std::make_unique<Engine>(
            *store, clock, random, std::move(registry),
            EngineOptions{.workers = 0,
                          .steps = {.attempt_timeout = Ms(500)},
                          .on_transition = [this](const Transitioned& transition) {
                              transitions.push_back(transition);
                          }});
    }
    ~ProvisionCustomerOverTheWire() override { unlink(ca_file_.c_str()); }

    // One purchase; request number `at` of it, from 1, meets the trick. Returns how many there
    // were.
    int purchase_with(std::optional<Trick> trick, int at) {
        ++runs_;
        connections_ = 0;
        at_ = at;
        trick_ = trick;
        struck_ = false;
        const auto purchase = world.purchase({.email = fmt::format("buyer{}@example.com", runs_)});
        const std::string id = accept(body_of(purchase, "checkout.session.completed"));
        run();
        EXPECT_EQ(last(id).what, "finished") << last(id).error_code << " " << last(id).error;
        EXPECT_EQ(struck_, trick.has_value());
        EXPECT_EQ(world.users().size(), runs_);
        if (world.users().size() == runs_) expect_linked(*world.users().back(), purchase);
        EXPECT_EQ(world.emails().size(), runs_);
        transitions.clear();
        return connections_;
    }

    HostileServer elsewhere_{[](Peer& peer) { peer.wait_until_gone(); }};
    std::atomic<bool> struck_ = false;

  private:
    bool is_meant() const { return trick_ && connections_ == at_; }

    std::shared_ptr<SSL_CTX> tls() {
        auto context = testing::make_tls_server(right_);
        SSL_CTX_set_cert_cb(
            context.get(),
            [](SSL* ssl, void* self) {
                static_cast<ProvisionCustomerOverTheWire*>(self)->choose_certificate(ssl);
                return 1;
            },
            this);
        return context;
    }
    void choose_certificate(SSL* ssl) {
        ++connections_;
        if (!is_meant() || !is_of_certificates(*trick_)) return;
        struck_ = true;
        const Certificate& wrong = *trick_ == Trick::wrong_host ? of_another_host_
                                   : *trick_ == Trick::expired  ? expired_
                                                                : of_a_stranger_;
        SSL_use_certificate(ssl, wrong.x509.get());
        SSL_use_PrivateKey(ssl, wrong.key.get());
    }

    void serve(Peer& peer) {
        const std::string text = peer.read_request();
        if (text.empty()) return;
        const auto request = parse(text);
        if (!is_meant()) return answer(peer, world.handle(request));
        struck_ = true;
        if (is_before_the_effect(*trick_)) return refuse(peer);
        spoil(peer, world.handle(request));
    }
    static void answer(Peer& peer, const HttpReply& reply) {
        peer.send(head(reply.status, "", reply.body.size()) + reply.body);
    }
    void refuse(Peer& peer) {
        const std::string body = R"({"error":{"message":"no"},"errors":[{"message":"no"}]})";
        if (*trick_ == Trick::too_many)
            peer.send(head(429, "Retry-After: 3\r\n", body.size()) + body);
        if (*trick_ == Trick::unavailable) peer.send(head(503, "", body.size()) + body);
        if (*trick_ == Trick::unauthorized) peer.send(head(401, "", body.size()) + body);
        if (*trick_ == Trick::redirect)
            peer.send(head(302, "Location: " + elsewhere_.url() + "/v1/users\r\n", 0));
    }
    void spoil(Peer& peer, const HttpReply& reply) {
        const std::string whole = head(reply.status, "", reply.body.size()) + reply.body;
        const std::string early = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
        switch (*trick_) {
            case Trick::late:
                usleep(200'000);
                peer.send(whole);
                break;
            case Trick::reset_after:
                peer.reset();
                break;
            case Trick::hang:
                peer.wait_until_gone();
                break;
            case Trick::dripping_head:
                peer.send("HTTP/1.1 200 OK\r\n");
                peer.drip("X-Header: value\r\n");
                break;
            case Trick::dripping_body:
                peer.send(head(200, "", 100'000));
                peer.drip(" ");
                break;
            case Trick::endless_body:
                peer.send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n");
                peer.flood(std::string(65'536, ' '));
                break;
            case Trick::gzip_bomb:
                // 10 bytes of a gzip head and a block that would go on for ever.
                peer.send(head(200, "Content-Encoding: gzip\r\n", 14) +
                          std::string("\x1f\x8b\x08\0\0\0\0\0\0\x03\xed\xc1\x01\x01", 14));
                break;
            case Trick::cut_json:
                peer.send(head(200, "", reply.body.size() / 2) +
                          reply.body.substr(0, reply.body.size() / 2));
                break;
            case Trick::cut_body:
                peer.send(whole.substr(0, whole.size() - reply.body.size() / 2));
                break;
            case Trick::early_hints:
                peer.send(early + whole);
                break;
            case Trick::only_early_hints:
                peer.send(early);
                break;
            default:
                break;
        }
    }

    const Certificate authority_ = make_certificate({.common_name = "Test CA", .is_ca = true});
    const Certificate stranger_ = make_certificate({.common_name = "Other CA", .is_ca = true});
    const std::string names_ = "DNS:stripe.sandbox,DNS:clerk.sandbox,DNS:resend.sandbox";
    const Certificate right_ = make_certificate({"any", names_}, &authority_);
    const Certificate of_another_host_ =
        make_certificate({"stripe.sandbox", "DNS:api.example.com"}, &authority_);
    const Certificate expired_ = make_certificate({"any", names_, -7200, -3600}, &authority_);
    const Certificate of_a_stranger_ = make_certificate({"any", names_}, &stranger_);
    const std::string ca_file_ =
        ::testing::TempDir() + "steplog_wire_ca_" + std::to_string(getpid()) + ".pem";

    std::size_t runs_ = 0;
    std::atomic<int> connections_ = 0;
    int at_ = 0;
    std::optional<Trick> trick_;
    std::unique_ptr<HttpClient> client_;
    std::unique_ptr<HostileServer> server_;
    std::unique_ptr<ResendSender> wire_email_;
    std::unique_ptr<Providers> wire_;
};

TEST_F(ProvisionCustomerOverTheWire, SurvivesEveryTrickAtEveryRequest) {
    const int requests = purchase_with(std::nullopt, 0);
    ASSERT_GE(requests, 4);
    for (int trick = 0; trick < tricks; ++trick) {
        for (int at = 1; at <= requests; ++at) {
            SCOPED_TRACE(fmt::format("trick {} at request {}", trick, at));
            purchase_with(static_cast<Trick>(trick), at);
        }
    }
    EXPECT_EQ(elsewhere_.connections(), 0) << "a redirect was followed";
    int effects = 0;
    for (const auto& [key, times] : world.effects()) {
        EXPECT_EQ(times, 1) << key;
        effects += times;
    }
    fmt::print("{} tricks at each of {} requests: {} accounts, {} e-mails, {} effects, each once\n",
               tricks, requests, world.users().size(), world.emails().size(), effects);
}

}  // namespace
}  // namespace steplog::steps
