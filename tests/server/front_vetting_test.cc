// The vetting as a pure function: what it says of whole requests, of beginnings of requests, and
// what it hands on. The same requests over real sockets are in front_corpus_test.cc.
#include "server/front_vetting.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "server/signature.h"

namespace steplog::server {
namespace {

using Kind = Verdict::Kind;

std::string head(std::string_view more,
                 std::string_view line = "POST /api/stripe-webhook HTTP/1.1") {
    return std::string(line) + "\r\nHost: a.example\r\n" + std::string(more) + "\r\n";
}

std::string json_head(std::string_view more, std::string_view length = "2") {
    return head("Content-Type: application/json\r\nContent-Length: " + std::string(length) +
                "\r\n" + std::string(more));
}

int status_of(std::string_view bytes) {
    const Verdict verdict = vet(bytes, {});
    return verdict.kind == Kind::accepted ? 200 : verdict.status;
}

int get_status(std::string_view target) {
    return status_of(head("", "GET " + std::string(target) + " HTTP/1.1"));
}

TEST(Vetting, AcceptsWhatStripeSends) {
    const std::string bytes = json_head(
        "Accept: */*; q=0.5, application/xml\r\nCache-Control: no-cache\r\n"
        "Stripe-Signature: t=1700000000,v1=00ff\r\nUser-Agent: Stripe/1.0 "
        "(+https://stripe.com/docs/webhooks)\r\n");
    const Verdict verdict = vet(bytes + "{}", {});
    ASSERT_EQ(verdict.kind, Kind::accepted) << verdict.error;
    EXPECT_EQ(verdict.head_bytes, bytes.size());
    EXPECT_EQ(verdict.request.method, "POST");
    EXPECT_EQ(verdict.request.target, "/api/stripe-webhook");
    EXPECT_EQ(verdict.request.content_length, 2u);
    EXPECT_TRUE(verdict.request.keep_alive);
    const std::pair<std::string, std::string> signature{"stripe-signature", "t=1700000000,v1=00ff"};
    const auto& headers = verdict.request.headers;
    EXPECT_NE(std::find(headers.begin(), headers.end(), signature), headers.end());
}

TEST(Vetting, ForwardsOnlyTheHeadersItKnows) {
    const Verdict verdict = vet(
        json_head(
            "REMOTE_ADDR: 1.2.3.4\r\nREMOTE-ADDR: 1.2.3.4\r\nX-Real-IP: 1.2.3.4\r\nRange: "
            "bytes=0-\r\n"
            "Accept-Encoding: gzip\r\nsvix-id: msg_1\r\nWebhook-Id: msg_1\r\nCookie: a=%41\r\n"),
        {});
    ASSERT_EQ(verdict.kind, Kind::accepted);
    std::vector<std::string> names;
    for (const auto& [name, value] : verdict.request.headers) names.push_back(name);
    const std::vector<std::string> expected = {"host",    "content-type", "content-length",
                                               "svix-id", "webhook-id",   "cookie"};
    EXPECT_EQ(names, expected);
}

TEST(Vetting, GivesTheSameVerdictHoweverTheBytesArrive) {
    const std::string whole = json_head("Stripe-Signature: t=1,v1=00\r\n");
    for (std::size_t size = 0; size < whole.size(); ++size) {
        EXPECT_EQ(vet(std::string_view(whole).substr(0, size), {}).kind, Kind::incomplete) << size;
    }
    EXPECT_EQ(vet(whole, {}).kind, Kind::accepted);
    // What is refused may be refused early, but never otherwise, and is never accepted on the way.
    const std::string bad = head("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n");
    for (std::size_t size = 0; size < bad.size(); ++size) {
        EXPECT_EQ(vet(std::string_view(bad).substr(0, size), {}).kind, Kind::incomplete) << size;
    }
    EXPECT_EQ(status_of(bad), 501);
}

TEST(Vetting, NeedNotBeAskedAgainForBytesThatDecideNothing) {
    const std::string begun = "GET /healthz HTTP/1.1\r\nHost: a\r\nA: b";
    const auto verdict = vet(begun, {});
    ASSERT_EQ(verdict.kind, Kind::incomplete);
    EXPECT_EQ(verdict.line_begins, begun.size() - 4);
    const auto is_still = [&](const std::string& more, const VettingLimits& limits = {}) {
        return is_still_incomplete(begun + more, begun.size(), verdict.line_begins, limits);
    };
    EXPECT_TRUE(is_still("c"));
    EXPECT_TRUE(is_still(std::string(8000, 'c')));
    EXPECT_FALSE(is_still(std::string(8 * 1024, 'c'))) << "the line is too long now";
    for (const char* deciding : {"\r", "c\n", "\x01", "\t"}) EXPECT_FALSE(is_still(deciding));
    EXPECT_FALSE(is_still("cc", {.header_bytes_max = begun.size() + 2}));
    const std::string cr = begun + "\r";
    EXPECT_FALSE(is_still_incomplete(cr + "x", cr.size(), verdict.line_begins, {}));
    EXPECT_FALSE(is_still_incomplete("G", 0, 0, {})) << "nothing was vetted";
}

TEST(Vetting, RefusesAtOnceWhatCanOnlyBecomeWorse) {
    EXPECT_EQ(status_of("\x16\x03\x01"), 400);
    EXPECT_EQ(status_of("GET / HTTP/1.1\n"), 400);
    EXPECT_EQ(status_of("TRACE / HTTP/1.1\r\n"), 405);
    EXPECT_EQ(status_of("GET /" + std::string(9000, 'a')), 414);
    EXPECT_EQ(status_of("GET / HTTP/1.1\r\nA: " + std::string(9000, 'a')), 431);
    EXPECT_EQ(status_of(std::string("GET / HTTP/1.1\r\nA: \0", 20)), 400);
}

TEST(Vetting, HoldsEveryLimitToTheByte) {
    EXPECT_EQ(get_status("/" + std::string(2047, 'a')), 200);
    EXPECT_EQ(get_status("/" + std::string(2048, 'a')), 414);
    const auto with_line = [](std::size_t size) {
        return status_of(head("A: " + std::string(size - 3, 'a') + "\r\n", "GET / HTTP/1.1"));
    };
    EXPECT_EQ(with_line(8192), 200);
    EXPECT_EQ(with_line(8193), 431);
    const auto with_lines = [](int count) {
        std::string lines;
        for (int i = 1; i < count; ++i) lines += "A: b\r\n";  // Host is one of them
        return status_of(head(lines, "GET / HTTP/1.1"));
    };
    EXPECT_EQ(with_lines(64), 200);
    EXPECT_EQ(with_lines(65), 431);
    const auto with_bytes = [](std::size_t size) {
        const std::string start = "GET / HTTP/1.1\r\nHost: a\r\nA: " + std::string(7000, 'a') +
                                  "\r\nB: " + std::string(7000, 'b') + "\r\nC: ";
        return status_of(start + std::string(size - start.size() - 4, 'c') + "\r\n\r\n");
    };
    EXPECT_EQ(with_bytes(16 * 1024), 200);
    EXPECT_EQ(with_bytes(16 * 1024 + 1), 431);
    EXPECT_EQ(status_of(json_head("", "1048576")), 200);
    EXPECT_EQ(status_of(json_head("", "1048577")), 413);
    EXPECT_EQ(status_of(json_head("", "99999999999999999999999999")), 413);
}

TEST(Vetting, RefusesTargetsThatAreNotPlainPaths) {
    for (const char* target :
         {"http://a/x",   "a:443",     "*",       "",           "/a b",          "/a\x80",
          "/a\"b",        "/a#b",      "/a\\b",   "/%",         "/%4",           "/%zz",
          "/a%00b",       "/a%0d%0ab", "/%c0%af", "/%ed%a0%80", "/%f4%90%80%80", "/%ff",
          "/static/../x", "/%2e%2e/x", "/..%2fx", "/a/.",       "/a/%2E%2e",     "/x?a=%00",
          "/x?a=%0a"}) {
        EXPECT_EQ(get_status(target), 400) << target;
    }
    for (const char* target : {"/", "/a/b", "//a", "/a/", "/a%2Fb", "/..a", "/a..", "/%c3%a4",
                               "/%f0%9f%98%80", "/x?a=..&b=/../%20+", "/a;b=c"}) {
        EXPECT_EQ(get_status(target), 200) << target;
    }
}

TEST(Vetting, RefusesRequestLinesOfAnyOtherForm) {
    for (const char* line :
         {"GET  / HTTP/1.1", "GET /", "GET / http/1.1", "GET / HTTP/11", " GET / HTTP/1.1",
          "GET / HTTP/1.1 ", "G{T / HTTP/1.1", "GET\t/ HTTP/1.1", ""}) {
        EXPECT_EQ(status_of(head("", line)), 400) << line;
    }
    EXPECT_EQ(status_of(head("", "GET / HTTP/2.0")), 505);
    EXPECT_EQ(status_of("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505);
    EXPECT_EQ(status_of(head("", "get / HTTP/1.1")), 405);
    EXPECT_EQ(status_of(head("", "CONNECT a:443 HTTP/1.1")), 405);
    EXPECT_EQ(status_of(head("", "OPTIONS * HTTP/1.1")), 405);
}

TEST(Vetting, RefusesDoubtfulHeaders) {
    EXPECT_EQ(status_of(json_head("A : b\r\n")), 400);
    EXPECT_EQ(status_of(json_head("A\r\n")), 400);
    EXPECT_EQ(status_of(json_head(": b\r\n")), 400);
    EXPECT_EQ(status_of(json_head("A: b\r\n c\r\n")), 400);
    EXPECT_EQ(status_of(json_head("A: \x01\r\n")), 400);
    EXPECT_EQ(status_of(json_head("A: b\rc\r\n")), 400);
    EXPECT_EQ(status_of(json_head("Host: b.example\r\n")), 400);
    EXPECT_EQ(status_of("GET / HTTP/1.1\r\n\r\n"), 400);
    EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), 400);
    EXPECT_EQ(status_of("GET / HTTP/1.1\r\nHost:\r\n\r\n"), 400);
    EXPECT_EQ(status_of("GET / HTTP/1.0\r\n\r\n"), 200);
    EXPECT_EQ(status_of(json_head("Content-Type: application/json\r\n")), 400);
    EXPECT_EQ(status_of(json_head("A:\r\nB:\tc\r\n")), 200);
}

TEST(Vetting, AcceptsBodiesOnlyAsJsonOfAKnownLength) {
    for (const char* length : {"-1", "abc", "+2", "2junk", "2, 2", "0x2", "", " ", "2 2"}) {
        EXPECT_EQ(status_of(json_head("", length)), 400) << length;
    }
    EXPECT_EQ(status_of(json_head("Content-Length: 2\r\n")), 400);
    EXPECT_EQ(status_of(json_head("Content-Length: 30\r\n", "3")), 400);
    for (const char* coding :
         {"chunked", "xchunked", "gzip, chunked", "%63hunked", "identity", ""}) {
        EXPECT_EQ(status_of(json_head("Transfer-Encoding: " + std::string(coding) + "\r\n")), 501)
            << coding;
    }
    EXPECT_EQ(status_of(head("Content-Type: application/json\r\n")), 411);
    EXPECT_EQ(status_of(head("Content-Length: 5\r\n", "GET / HTTP/1.1")), 400);
    EXPECT_EQ(status_of(head("Content-Length: 0\r\n", "GET / HTTP/1.1")), 200);
    EXPECT_EQ(status_of(json_head("Content-Encoding: gzip\r\n")), 415);
    EXPECT_EQ(status_of(json_head("Content-Encoding: identity\r\n")), 200);
    for (const char* type : {"multipart/form-data; boundary=x", "application/x-www-form-urlencoded",
                             "text/plain", "application/jsonp", ""}) {
        EXPECT_EQ(
            status_of(head("Content-Length: 2\r\nContent-Type: " + std::string(type) + "\r\n")),
            415)
            << type;
    }
    EXPECT_EQ(status_of(head("Content-Length: 2\r\n")), 415);
    EXPECT_EQ(status_of(head("Content-Length: 0\r\n")), 200);
    EXPECT_EQ(
        status_of(head("Content-Length: 2\r\nContent-Type: Application/JSON ; charset=utf-8\r\n")),
        200);
}

TEST(Vetting, ExpectsNothingButContinue) {
    EXPECT_TRUE(vet(json_head("Expect: 100-Continue\r\n"), {}).request.expects_continue);
    EXPECT_EQ(status_of(json_head("Expect: 200-ok\r\n")), 417);
    EXPECT_EQ(status_of(json_head("Expect: 100-continue\r\nExpect: 100-continue\r\n")), 417);
    EXPECT_EQ(status_of(json_head("Expect: 100-continue\r\n", "999999999999")), 413);
}

TEST(Vetting, KeepsAliveOnlyWhereBothSidesAgree) {
    EXPECT_TRUE(vet(head("", "GET / HTTP/1.1"), {}).request.keep_alive);
    EXPECT_FALSE(vet(head("", "GET / HTTP/1.0"), {}).request.keep_alive);
    EXPECT_FALSE(vet(head("Connection: keep-alive\r\n", "GET / HTTP/1.0"), {}).request.keep_alive);
    EXPECT_FALSE(vet(head("Connection: te, Close\r\n", "GET / HTTP/1.1"), {}).request.keep_alive);
    EXPECT_FALSE(vet(head("Connection: Upgrade\r\n", "GET / HTTP/1.1"), {}).request.keep_alive);
    EXPECT_FALSE(vet(head("Upgrade: h2c\r\n", "GET / HTTP/1.1"), {}).request.keep_alive);
}

// Whatever is wrong with a signature is the webhook's to refuse, in one and the same way.
TEST(Vetting, LeavesSignaturesToTheWebhook) {
    const auto accepted = [](const std::string& headers) {
        return vet(json_head(headers), {}).kind == Kind::accepted;
    };
    EXPECT_TRUE(accepted("Stripe-Signature: t=1\r\nStripe-Signature: t=1\r\n"));
    EXPECT_TRUE(accepted("Stripe-Signature: t=1%2cv1=00\r\n"));
    const Verdict verdict =
        vet(json_head("stripe-signature: " + std::string(9000, '1') + "\r\n"), {});
    EXPECT_EQ(verdict.status, 400);
    EXPECT_EQ(verdict.error, bad_signature);
}

TEST(Vetting, MakesTwoAuthorizationsOneThatIsNoKey) {
    const Verdict verdict =
        vet(json_head("Authorization: Bearer a\r\nauthorization: Bearer b\r\n"), {});
    ASSERT_EQ(verdict.kind, Kind::accepted);
    std::vector<std::string> values;
    for (const auto& [name, value] : verdict.request.headers) {
        if (name == "authorization") values.push_back(value);
    }
    EXPECT_EQ(values, std::vector<std::string>{"ambiguous"});
}

}  // namespace
}  // namespace steplog::server
