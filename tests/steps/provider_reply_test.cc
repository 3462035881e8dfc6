// What is accepted as a provider's reply, and what is not: over real sockets, byte by byte.
#include "tests/steps/http_attempts.h"

namespace steplog::steps {

TEST(ProviderReply, ReadsChunks) {
    HostileServer server(
        answer_and_stay("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                        "5;note=x\r\nhello\r\n3\r\n, w\r\n4  \r\norld\r\n0\r\n\r\n"));
    const Ending ending = get(server.url());
    EXPECT_EQ(ending.code, "") << ending.text;
    EXPECT_EQ(ending.reply.body, "hello, world");
}

TEST(ProviderReply, SkipsInterimRepliesBeforeTheFinalOne) {
    HostileServer server(
        answer_and_stay("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
                        "HTTP/1.1 100 Continue\r\n\r\n"
                        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"));
    const Ending ending = get(server.url());
    EXPECT_EQ(ending.reply.status, 200) << ending.text;
    EXPECT_EQ(ending.reply.header("link"), "");
}

TEST(ProviderReply, DoesNotTakeAnInterimReplyForTheFinalOne) {
    HostileServer server(answer("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"));
    expect_unknown(get(server.url()), "interim_reply");
    HostileServer other(answer_and_stay("HTTP/1.1 101 Switching Protocols\r\n\r\n"));
    expect_unknown(get(other.url()), "interim_reply");
    HostileServer endless([](Peer& peer) { peer.flood("HTTP/1.1 102 Processing\r\n\r\n"); });
    expect_unknown(get(endless.url()), "oversized_reply");
}

TEST(ProviderReply, BoundsTheBody) {
    const std::string head = "HTTP/1.1 200 OK\r\n";
    const std::string kilobyte(1024, 'x');
    HostileServer announced(answer_and_stay(head + "Content-Length: 600000000\r\n\r\n"));
    expect_unknown(get(announced.url()), "oversized_reply");
    HostileServer chunked([&](Peer& peer) {
        peer.read_request();
        peer.send(head + "Transfer-Encoding: chunked\r\n\r\n");
        peer.flood("400\r\n" + kilobyte + "\r\n");
    });
    expect_unknown(get(chunked.url()), "oversized_reply");
    HostileServer one_chunk(
        answer_and_stay(head + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\n" + kilobyte));
    expect_unknown(get(one_chunk.url()), "oversized_reply");
    HostileServer endless([&](Peer& peer) {
        peer.read_request();
        peer.send(head + "\r\n");
        peer.flood(kilobyte);
    });
    expect_unknown(get(endless.url()), "cut_reply");
}

TEST(ProviderReply, TakesABodyOfExactlyTheLimitAndNoMore) {
    HttpClient client({.reply_max = 4});
    const std::string head = "HTTP/1.1 200 OK\r\n";
    for (const auto& [bytes, code] : std::vector<std::pair<std::string, std::string>>{
             {"Content-Length: 4\r\n\r\nfour", ""},
             {"Content-Length: 5\r\n\r\nfives", "oversized_reply"},
             {"Transfer-Encoding: chunked\r\n\r\n2\r\nfo\r\n2\r\nur\r\n0\r\n\r\n", ""},
             {"Transfer-Encoding: chunked\r\n\r\n2\r\nfo\r\n3\r\nurs\r\n0\r\n\r\n",
              "oversized_reply"}}) {
        HostileServer server(answer_and_stay(head + bytes));
        const Ending ending = attempt(client, make_request("GET", server.url()));
        EXPECT_EQ(ending.code, code) << bytes << ending.text;
        EXPECT_EQ(ending.reply.body, code.empty() ? "four" : "") << bytes;
    }
}

TEST(ProviderReply, BoundsTheHead) {
    HostileServer many([](Peer& peer) {
        peer.send("HTTP/1.1 200 OK\r\n");
        peer.flood("X-Flood: y\r\n");
    });
    expect_unknown(get(many.url()), "oversized_reply");
    HostileServer one_line([](Peer& peer) {
        peer.send("HTTP/1.1 200 OK\r\nX-Flood: ");
        peer.flood(std::string(4096, 'y'));
    });
    expect_unknown(get(one_line.url()), "oversized_reply");
    HostileServer long_line(answer_and_stay("HTTP/1.1 200 OK\r\nX: " + std::string(9000, 'y') +
                                            "\r\nContent-Length: 0\r\n\r\n"));
    expect_unknown(get(long_line.url()), "oversized_reply");
    std::string headers;
    for (int i = 0; i < 129; ++i) headers += "X: y\r\n";
    HostileServer lines(answer_and_stay("HTTP/1.1 200 OK\r\n" + headers + "\r\n"));
    expect_unknown(get(lines.url()), "oversized_reply");
}

TEST(ProviderReply, TakesNothingCutForWhole) {
    const std::string json = R"({"id":"user_1"})";
    const std::string length = "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n" + json;
    const std::string chunks =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"id\"\r\na\r\n:\"user_1\"}\r\n"
        "0\r\n\r\n";
    HttpClient& client = shared_client();
    for (const std::string& whole : {length, chunks}) {
        std::size_t sent = 0;
        HostileServer server([&](Peer& peer) {
            peer.read_request();
            peer.send(whole.substr(0, sent));
        });
        for (sent = 1; sent < whole.size(); ++sent) {
            const Ending ending = attempt(client, make_request("GET", server.url()));
            expect_unknown(ending, "cut_reply");
            ASSERT_EQ(ending.code, "cut_reply") << "after " << sent << " bytes of " << whole;
        }
        const Ending ending = attempt(client, make_request("GET", server.url()));
        EXPECT_EQ(ending.reply.body, json) << ending.text;
    }
}

TEST(ProviderReply, DoesNotBelieveAReplyWithoutALength) {
    HostileServer server(answer("HTTP/1.1 200 OK\r\n\r\n{\"id\":"));
    expect_unknown(get(server.url()), "cut_reply");
}

TEST(ProviderReply, RefusesRepliesThatCouldBeReadInTwoWays) {
    const std::string ok = "HTTP/1.1 200 OK\r\n";
    const std::string body = "\r\n5\r\nhello\r\n0\r\n\r\n";
    for (const std::string& bytes : {
             ok + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
             ok + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" + body,
             ok + "Content-Length: -1\r\n\r\n",
             ok + "Content-Length: +5\r\n\r\nhello",
             ok + "Content-Length: 5, 5\r\n\r\nhello",
             ok + "Content-Length: abc\r\n\r\n",
             ok + "Content-Length: \r\n\r\n",
             ok + "Content-Length: 18446744073709551616\r\n\r\n",
             ok + "Content-Length : 5\r\n\r\nhello",
             ok + "Transfer-Encoding: gzip, chunked\r\n" + body,
             ok + "Transfer-Encoding: %63hunked\r\n" + body,
             ok + "X: y\r\n folded: z\r\nContent-Length: 0\r\n\r\n",
             ok + "X: y\nContent-Length: 0\r\n\r\n",
             ok + "X: " + '\0' + "\r\nContent-Length: 0\r\n\r\n",
             ok + "no colon\r\nContent-Length: 0\r\n\r\n",
             ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX0\r\n\r\n",
             ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello0\r\n\r\n",
             ok + "Transfer-Encoding: chunked\r\n\r\n-2\r\nhello\r\n0\r\n\r\n",
             ok + "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
             ok + "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
             ok + "Transfer-Encoding: chunked\r\n\r\n11111111111111111\r\n",
             ok + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: trailer\r\n\r\n",
             ok + "Transfer-Encoding: chunked\r\n\r\n" + std::string(500, '0'),
             std::string("HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"),
             std::string("HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n"),
             std::string("HTTP/1.1 700 OK\r\nContent-Length: 0\r\n\r\n"),
             std::string("HTTP/2 200\r\nContent-Length: 0\r\n\r\n"),
             std::string("SSH-2.0-OpenSSH_9.2\r\n"),
             std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11),
         }) {
        HostileServer server(answer_and_stay(bytes));
        const Ending ending = get(server.url());
        expect_unknown(ending, "unparsable_reply");
        EXPECT_EQ(ending.code, "unparsable_reply") << bytes << ending.text;
    }
}

TEST(ProviderReply, RefusesACompressedReply) {
    HostileServer server(answer_and_stay(
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1000000\r\n\r\n\x1f\x8b"));
    expect_unknown(get(server.url()), "unparsable_reply");
}

TEST(ProviderReply, IgnoresWhatFollowsTheReply) {
    HostileServer server([](Peer& peer) {
        peer.read_request();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
        peer.flood("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
    });
    const Ending ending = get(server.url());
    EXPECT_EQ(ending.reply.status, 200) << ending.text;
    EXPECT_EQ(ending.reply.body, "{}");
}

}  // namespace steplog::steps
