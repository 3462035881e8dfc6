// The bad-input corpus: each row is an attack or a mistake that an HTTP server has to survive, with
// the answer it must get. The numbers group the rows by what they try. Used against the front alone
// (tests/server) and against the whole server (tests/system).
#pragma once

#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "tests/server/front_support.h"

namespace steplog::testing {

using namespace std::string_literals;

struct Row {
    int number;
    std::string name;
    std::string bytes;
    int status;  // 0: closed without an answer
    bool close = true;
};

inline void PrintTo(const Row& row, std::ostream* out) { *out << row.number << ' ' << row.name; }

inline std::string json_head(std::string_view more) {
    return "POST /api/stripe-webhook HTTP/1.1\r\nHost: a.example\r\nContent-Type: "
           "application/json\r\n" +
           std::string(more) + "\r\n";
}

inline std::string line(std::string_view request_line) {
    return std::string(request_line) + "\r\nHost: a.example\r\n\r\n";
}

inline std::string repeat(std::string_view text, int times) {
    std::string result;
    for (int i = 0; i < times; ++i) result += text;
    return result;
}

inline std::vector<Row> framing_rows() {
    return {
        {7, "a TLS greeting", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"s, 400},
        {8, "the HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
        {8, "a version to come", line("GET /healthz HTTP/3.0"), 505},
        {8, "no version", "GET /healthz\r\n", 400},
        {9, "a bare line feed behind the first line", "GET /healthz HTTP/1.1\r\nHost: a\n\n", 400},
        {9, "bare line feeds", "GET /healthz HTTP/1.1\nHost: a\n\n", 400},
        {10, "a request line of 9 KiB", "GET /" + repeat("a", 9000), 414},
        {11, "100 headers", get("/healthz", repeat("A: b\r\n", 100)), 431},
        {11, "10,000 headers", get("/healthz", repeat("A: b\r\n", 10'000)), 431},
        {11, "200,000 headers", get("/healthz", repeat("A: b\r\n", 200'000)), 431},
        {11, "20 KiB of headers", get("/healthz", repeat("A: " + repeat("b", 1000) + "\r\n", 20)),
         431},
        {12, "one header of 9 KiB", get("/healthz", "A: " + repeat("b", 9 * 1024) + "\r\n"), 431},
        {13, "a folded header", get("/healthz", "A: b\r\n c\r\n"), 400},
        {14, "a space before the colon", json_head("Content-Length : 2\r\n") + "{}", 400},
        {15, "a control character in a header", get("/healthz", "A: b\x01\r\n"), 400},
        {15, "NUL in a header", get("/healthz", "A: b\0\r\n"s), 400},
        {15, "a vertical tab in the request line", "GET /healthz\vHTTP/1.1\r\n\r\n", 400},
        {16, "no Host", "GET /healthz HTTP/1.1\r\n\r\n", 400},
        {16, "two Hosts", get("/healthz", "Host: b.example\r\n"), 400},
        {17, "the absolute form", line("GET http://a.example/healthz HTTP/1.1"), 400},
        {17, "the authority form", line("GET a.example:80 HTTP/1.1"), 400},
        {17, "the asterisk form", line("GET * HTTP/1.1"), 400},
        {18, "TRACE", line("TRACE /healthz HTTP/1.1"), 405},
        {18, "OPTIONS", line("OPTIONS * HTTP/1.1"), 405},
        {18, "PUT", line("PUT /api/stripe-webhook HTTP/1.1"), 405},
        {18, "a method in small letters", line("get /healthz HTTP/1.1"), 405},
        {18, "CONNECT", line("CONNECT a.example:443 HTTP/1.1"), 405},
        {18, "an unknown method", line("BREW /healthz HTTP/1.1"), 405},
    };
}

inline std::vector<Row> body_rows() {
    std::vector<Row> rows;
    for (const char* length : {"-1", "abc", "+2", "2junk", "2, 2"}) {
        rows.push_back({20, "Content-Length "s + length,
                        json_head("Content-Length: "s + length + "\r\n") + "{}", 400});
    }
    rows.push_back({22, "two Content-Lengths",
                    json_head("Content-Length: 3\r\nContent-Length: 30\r\n") + "{ }", 400});
    rows.push_back(
        {23, "Content-Length and chunks",
         json_head("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n") + "2\r\n{}\r\n0\r\n\r\n",
         501});
    for (const char* coding : {"xchunked", "gzip, chunked", "%63hunked"}) {
        rows.push_back(
            {24, "Transfer-Encoding "s + coding,
             json_head("Transfer-Encoding: "s + coding + "\r\n") + "2\r\n{}\r\n0\r\n\r\n", 501});
    }
    for (const char* chunk : {"-2\r\n{}", "+0x3\r\n{ }", "fffffffffffffffff\r\n{}",
                              "2\r\n{}XX0\r\n\r\n", "2;a=b\r\n{}\r\n0\r\nA: b\r\n\r\n"}) {
        rows.push_back(
            {26, "chunks "s + chunk, json_head("Transfer-Encoding: chunked\r\n") + chunk, 501});
    }
    rows.push_back({28, "endless chunks",
                    json_head("Transfer-Encoding: chunked\r\n") + repeat("2\r\n{}\r\n", 50'000),
                    501});
    rows.push_back({30, "no Content-Length", json_head(""), 411});
    rows.push_back({31, "a GET that hides a request",
                    get("/healthz", "Content-Length: 42\r\n") + get("/echo"), 400});
    rows.push_back({31, "a GET with chunks",
                    get("/healthz", "Transfer-Encoding: chunked\r\n") + "0\r\n\r\n", 501});
    rows.push_back({32, "two requests at once", get("/healthz") + get("/healthz"), 200});
    rows.push_back({32, "a request within a body's length and one behind it",
                    get("/healthz", "Content-Length: 0\r\n") + post("{}"), 200});
    rows.push_back({33, "a body of 2 MiB", post(repeat("x", 2 << 20)), 413});
    rows.push_back(
        {34, "a claim of 1 TB", json_head("Content-Length: 1000000000000\r\n") + "{", 413});
    rows.push_back({35, "Expect with 999 GB",
                    json_head("Expect: 100-continue\r\nContent-Length: 999000000000\r\n"), 413});
    rows.push_back(
        {35, "another Expect", json_head("Expect: a-miracle\r\nContent-Length: 2\r\n"), 417});
    rows.push_back({36, "gzip", post("{}", "Content-Encoding: gzip\r\n"), 415});
    rows.push_back({36, "br", post("{}", "Content-Encoding: br\r\n"), 415});
    rows.push_back({36, "deflate twice, one of them named identity",
                    post("{}", "Content-Encoding: identity\r\nContent-Encoding: deflate\r\n"),
                    415});
    rows.push_back({37, "2,000 ranges",
                    get("/healthz", "Range: bytes=" + repeat("0-,", 2000) + "0-\r\n"), 200, false});
    rows.push_back({38, "Upgrade",
                    get("/healthz", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"),
                    200});
    const std::string start =
        "POST /api/stripe-webhook HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\nContent-Type: ";
    rows.push_back({39, "a form with files",
                    start + "multipart/form-data; boundary=x\r\n\r\n" + repeat("-", 9000), 415});
    rows.push_back({39, "a form",
                    start + "application/x-www-form-urlencoded\r\n\r\n" + repeat("a", 9000), 415});
    return rows;
}

inline std::vector<Row> path_rows() {
    std::vector<Row> rows;
    for (const char* path : {"/static/../x", "/%2e%2e/x", "/..%2fx", "/a%00b", "/a%0d%0aX: y",
                             "/%c0%ae%c0%ae/", "/a\x80"}) {
        rows.push_back({40, "path "s + path, get(path), 400});
    }
    rows.push_back({40, "a path of 8,000 bytes", get("/" + repeat("a", 8000)), 414});
    for (const char* path : {"//api/stripe-webhook", "/api/stripe-webhook/", "/API/stripe-webhook",
                             "/api%2fstripe-webhook/"}) {
        rows.push_back({41, "path "s + path, post("{}", "", path), 404, false});
    }
    rows.push_back(
        {46, "a signature of 68 KB",
         post("{}", "Stripe-Signature: t=1" + repeat(",v1=0123456789abcdef", 4000) + "\r\n"), 400});
    return rows;
}

inline std::vector<Row> all_rows() {
    std::vector<Row> rows = framing_rows();
    for (auto* more : {body_rows, path_rows}) {
        for (Row& row : more()) rows.push_back(std::move(row));
    }
    return rows;
}

}  // namespace steplog::testing
