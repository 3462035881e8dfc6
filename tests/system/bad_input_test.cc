// What a hostile, broken or merely unlucky sender posts to the webhook of the built server, row by
// row: the answer's exact bytes, what is stored of it, and a good event served after each. The
// numbers group the rows by what they try; those below 42 are the front's and stand in
// tests/server/front_corpus_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "engine/digest.h"
#include "engine/types.h"
#include "tests/support/temporary_directory.h"
#include "tests/system/live_server.h"

namespace steplog::testing {
namespace {

using std::string_literals::operator""s;
using ::testing::HasSubstr;
using ::testing::Not;

const std::string received = R"(200 {"received":true})";
const std::string ignored = R"(200 {"received":true,"note":"ignored"})";
const std::string quarantined = R"(200 {"received":true,"note":"quarantined"})";
const std::string already_processed = R"(200 {"received":true,"note":"already_processed"})";
const std::string refused = R"(400 {"error":"bad or missing Stripe-Signature"})";

/// One delivery and what must come of it.
struct Row {
    int number;
    std::string name;
    std::string body;
    std::vector<std::string> signatures;
    std::string answer;
    std::string id = {};  // under which it is kept; "": the body's digest
};

std::string file_text(const std::string& name) {
    std::ifstream file(STEPLOG_SOURCE_DIR "/tests/data/events/" + name, std::ios::binary);
    EXPECT_TRUE(file) << name;
    return {std::istreambuf_iterator<char>(file), {}};
}

/// Everything of an event but its id, of a type that no workflow wants.
const std::string rest =
    R"("object":"event","created":1793520000,"data":{"object":{"id":"cus_1"}},)"
    R"("livemode":false,"type":"customer.created"})";

std::string unwanted(const std::string& id) { return R"({"id":")" + id + "\"," + rest; }

std::string with_member(const std::string& member) {
    return R"({"id":"evt_m",)" + member + "," + rest;
}

std::string repeat(const std::string& text, int times) {
    std::string result;
    for (int i = 0; i < times; ++i) result += text;
    return result;
}

std::vector<Row> signature_rows() {
    const auto body = unwanted("evt_signature");
    const auto good = signature_of(body);
    const auto time = good.substr(0, good.find(','));
    const auto hex = good.substr(good.find("v1=") + 3);
    auto upper = hex;
    std::transform(upper.begin(), upper.end(), upper.begin(), ::toupper);
    upper[0] = 'A';
    std::vector<Row> rows;
    const auto bad = [&](int number, const std::string& name, std::vector<std::string> signatures) {
        rows.push_back({number, name, body, std::move(signatures), refused});
    };
    bad(42, "no signature", {});
    bad(43, "a good signature twice", {good, good});
    bad(43, "a bad signature before the good one", {"t=1,v1=0", good});
    bad(43, "a bad signature behind the good one", {good, ""});
    bad(44, "an empty signature", {""});
    bad(44, "an empty t", {"t="});
    bad(44, "an empty t with a v1", {"t=,v1=" + hex});
    bad(44, "no t", {"v1=" + hex});
    bad(44, "no v1", {time});
    bad(44, "an empty v1", {time + ",v1="});
    bad(44, "only v0, with the right digits", {time + ",v0=" + hex});
    bad(46, "1,000 short v1 values", {time + repeat(",v1=0", 999) + ",v1=" + hex});
    bad(46, "1,000 whole v1 values", {time + repeat(",v1=" + hex, 1000)});
    bad(46, "nine v1 values, the last one right",
        {time + repeat(",v1=" + std::string(64, '0'), 8) + ",v1=" + hex});
    bad(47, "a v1 that is not hex", {time + ",v1=" + std::string(64, 'z')});
    bad(47, "a v1 of 63 digits", {time + ",v1=" + hex.substr(0, 63)});
    bad(47, "a v1 of 65 digits", {time + ",v1=" + hex + "0"});
    bad(47, "a v1 in upper case", {time + ",v1=" + upper});
    bad(48, "a secret that is no longer in force",
        {signature_of(body, "whsec_NotARealSecret_gone")});
    bad(49, "a t of 302 s ago", {signature_of(body, webhook_secret, 302)});
    bad(49, "t=0", {server::stripe_signature_header(body, webhook_secret, 0)});
    bad(49, "a negative t", {server::stripe_signature_header(body, webhook_secret, -1)});
    bad(49, "a t of 20 digits", {"t=99999999999999999999,v1=" + hex});
    bad(49, "a t that is no number", {"t=now,v1=" + hex});
    bad(50, "the signature of the body without its last byte",
        {signature_of(body.substr(0, body.size() - 1))});
    bad(50, "the signature of the body and a blank", {signature_of(body + " ")});
    bad(50, "the signature of the body written anew", {signature_of(Json::parse(body).dump(2))});
    bad(51, "a signature made with an empty secret", {signature_of(body, "")});
    bad(52, "a percent-encoded comma", {time + "%2Cv1=" + hex});
    bad(52, "a percent-encoded equals sign", {"t%3D" + time.substr(2) + ",v1=" + hex});
    bad(52, "percent-encoded digits", {time + ",v1=%" + hex});
    bad(54, "another endpoint's secret", {signature_of(body, "whsec_OfAnotherEndpoint0")});
    rows.push_back({58, "unsigned and very deep", std::string(1'000'000, '['), {}, refused});
    rows.push_back({58, "unsigned and no JSON", "\xff\xfe", {"t=1,v1=0"}, refused});

    const auto good_row = [&](int number, const std::string& id, const auto& signature) {
        const auto event = unwanted(id);
        rows.push_back({number, id, event, {signature(event)}, ignored, id});
    };
    const std::string zeros = ",v1=" + std::string(64, '0');
    good_row(45, "evt_second_v1_is_right", [&](const std::string& event) {
        const auto signature = signature_of(event);
        return signature.substr(0, signature.find(',')) + zeros +
               signature.substr(signature.find(','));
    });
    good_row(46, "evt_eighth_v1_is_right", [&](const std::string& event) {
        const auto signature = signature_of(event);
        return signature.substr(0, signature.find(',')) + repeat(zeros, 7) +
               signature.substr(signature.find(','));
    });
    good_row(48, "evt_old_secret_in_force",
             [](const std::string& event) { return signature_of(event, older_webhook_secret); });
    good_row(49, "evt_290_s_old",
             [](const std::string& event) { return signature_of(event, webhook_secret, 290); });
    good_row(49, "evt_ahead_of_our_clock",
             [](const std::string& event) { return signature_of(event, webhook_secret, -86'400); });
    good_row(49, "evt_last_t_counts",
             [](const std::string& event) { return "t=1," + signature_of(event); });
    return rows;
}

Row kept(int number, const std::string& name, const std::string& body, const std::string& answer,
         const std::string& id = "") {
    return {number, name, body, {signature_of(body)}, answer, id};
}

std::vector<Row> json_rows() {
    std::vector<Row> rows;
    const auto odd = [&](int number, const std::string& name, const std::string& body) {
        rows.push_back(kept(number, name, body, quarantined));
    };
    const auto whole = unwanted("evt_w");
    odd(55, "an empty body", "");
    for (const auto* body : {"null", "[]", "\"x\"", "7", "true", "{}", "-0.0", " ", "\n"})
        odd(55, body, body);
    odd(56, "no JSON", "id=evt_1&type=invoice.paid");
    odd(56, "cut short", whole.substr(0, whole.size() - 1));
    odd(56, "something behind it", whole + "x");
    odd(56, "two documents", whole + whole);
    odd(56, "a comment", "/* c */" + whole);
    odd(56, "a comment line", "// c\n" + whole);
    odd(56, "a comma too many", R"({"id":"evt_w","type":"x",})");
    odd(56, "single quotes", "{'id':'evt_w'}");
    for (const auto* number : {"NaN", "Infinity", "-Infinity", "0x10", "+1", "01", "1.", ".5"})
        odd(56, "the number "s + number, with_member("\"n\":"s + number));
    odd(56, "a byte order mark", "\xEF\xBB\xBF" + whole);
    odd(57, "depth 65", with_member("\"n\":" + repeat("[", 64) + repeat("]", 64)));
    odd(57, "depth 100,000", std::string(100'000, '[') + std::string(100'000, ']'));
    odd(57, "depth 1,000,000", std::string(1'000'000, '['));
    odd(57, "objects in each other", repeat("{\"a\":", 150'000));
    odd(59, "invalid UTF-8 in the id", "{\"id\":\"evt_\xff\",\"type\":\"x\"}");
    odd(59, "invalid UTF-8 elsewhere", with_member("\"n\":\"\xff\""));
    odd(59, "an overlong NUL", with_member("\"n\":\"\xc0\x80\""));
    odd(59, "a surrogate in UTF-8", with_member("\"n\":\"\xed\xa0\x80\""));
    odd(59, "a lone high surrogate", with_member(R"("n":"\ud800")"));
    odd(59, "a lone low surrogate", with_member(R"("n":"\udc00x")"));
    odd(59, "a NUL byte inside", with_member("\"n\":\"a\0b\""s));
    odd(59, "a NUL byte behind", whole + '\0');
    odd(60, "an escaped NUL in the id", R"({"id":"evt_1\u0000x","type":"x"})");
    odd(60, "an escaped NUL in an address", with_member(R"("email":"a\u0000@b.example")"));
    odd(61, "a key twice", R"({"id":1,"id":2})");
    odd(61, "two ids", R"({"id":"evt_1","id":"evt_2",)" + rest);
    odd(61, "two ids, one of them escaped", R"({"id":"evt_1","\u0069d":"evt_2",)" + rest);
    odd(61, "a key twice further down", with_member(R"("n":{"m":[{"a":1,"a":1}]})"));
    for (const auto* id : {"5", "null", "true", "1e3", "[\"evt_1\"]", "{\"id\":\"evt_1\"}"})
        odd(62, "the id "s + id, "{\"id\":"s + id + "," + rest);
    odd(62, "no id", "{" + rest);
    odd(62, "an empty id", unwanted(""));
    odd(63, "an id of 10 KB", unwanted(std::string(10'000, 'e')));
    odd(63, "an id of 256 characters", unwanted(std::string(256, 'e')));
    for (const auto* id :
         {"evt_1' OR '1'='1", "evt_1\\\" --", "<script>alert(1)</script>", "evt_1\\n2026 forged",
          "\\u001b[31mevt", "evt 1", "evt-1", "../evt", "evt%00", "evt_\xc3\xa9", "=1+1", "@evt"})
        odd(63, "the id "s + id, unwanted(id));
    rows.push_back(kept(63, "an id of 255 characters", unwanted(std::string(255, 'e')), ignored,
                        std::string(255, 'e')));
    odd(67, "a million digits", with_member("\"n\":" + std::string(1'000'000, '1')));
    std::string keys = R"({"id":"evt_keys","type":"x")";
    for (int i = 0; i < 100'000; ++i) keys += ",\"" + std::to_string(i) + "\":0";
    odd(67, "100,000 keys in one object", keys + "}");
    return rows;
}

std::vector<Row> event_rows() {
    std::vector<Row> rows;
    int number_of_id = 0;
    const auto change = [&](int number, const std::string& file, const std::string& path,
                            const std::string& value, const std::string& answer) {
        auto event = Json::parse(file_text(file));
        const auto id = "evt_changed" + std::to_string(++number_of_id);
        event["id"] = id;
        const auto pointer = Json::json_pointer(path);
        if (value.empty())
            event[pointer.parent_pointer()].erase(pointer.back());
        else
            event[pointer] = Json::parse(value);
        rows.push_back(kept(number, path + " = " + value, event.dump(), answer, id));
    };
    const std::string checkout = "06_checkout.session.completed.json";
    const std::string invoice = "04_invoice.paid.json";
    for (const std::string path :
         {"/type", "/livemode", "/data", "/data/object", "/data/object/id", "/created"})
        for (const std::string value : {"", "null", "\"\"", "[]", "{}", "\"a b\"", "1.9", "-1"})
            change(62, checkout, path, value, quarantined);
    for (const std::string value : {"", "null", "5", "[]", "{}", "\"cus/../x\"", "{\"id\":7}"})
        change(62, invoice, "/data/object/customer", value, quarantined);
    for (const std::string value : {"", "null"})
        change(62, checkout, "/data/object/customer", value, received);  // a guest
    for (const std::string value : {"9223372036854775808", "18446744073709551616", "1e300", "1.9",
                                    "\"1\"", "-1", "true", "253402300800"})
        change(64, checkout, "/created", value, quarantined);
    change(64, checkout, "/created", "4294967297", received);
    auto huge = file_text(checkout);
    const std::string created = "\"created\": 1793520000";
    huge.replace(huge.find(created), created.size(), "\"created\": 1e400");
    rows.push_back(kept(64, "created beyond any double", huge, quarantined));
    rows.push_back(kept(65, "a type of next year",
                        R"({"id":"evt_next","object":"event","created":1793520000,)"
                        R"("livemode":false,"type":"of.next.year"})",
                        ignored, "evt_next"));
    change(65, checkout, "/api_version", "\"2031-01-01.zebra\"", received);
    change(54, checkout, "/livemode", "true", ignored);
    return rows;
}

class BadInput : public ::testing::Test {
  protected:
    std::string newest(const std::string& columns) const {
        return server_.sql("SELECT " + columns +
                           " FROM events LEFT JOIN payloads ON payloads.id=payload ORDER BY "
                           "events.seq DESC LIMIT 1");
    }
    std::string count() const { return server_.sql("SELECT count(*) FROM events"); }

    void expect_stored(const Row& row) const {
        const auto id = row.id.empty() ? "sha256:" + to_hex(sha256(row.body)) : row.id;
        const std::string disposition = row.answer == received      ? "routed"
                                        : row.answer == ignored     ? "ignored"
                                        : row.answer == quarantined ? "quarantined"
                                                                    : "?";
        EXPECT_EQ(newest("events.id"), id);
        EXPECT_EQ(newest("disposition"), disposition);
        EXPECT_EQ(newest("reason NOTNULL"), disposition == "routed" ? "0" : "1");
        EXPECT_EQ(newest("instance NOTNULL"), disposition == "routed" ? "1" : "0");
        EXPECT_EQ(newest("body"), row.body) << "it is not kept as it came";
    }

    void expect_answers(const std::vector<Row>& rows) {
        int good = 0;
        for (const Row& row : rows) {
            SCOPED_TRACE(std::to_string(row.number) + " " + row.name.substr(0, 80));
            const auto before = count();
            EXPECT_EQ(server_.post(row.body, row.signatures), row.answer);
            if (row.answer.starts_with("200")) {
                EXPECT_EQ(count(), std::to_string(std::stoi(before) + 1));
                expect_stored(row);
                EXPECT_EQ(server_.post(row.body, row.signatures), already_processed);
            } else {
                EXPECT_EQ(count(), before) << "something was stored";
            }
            const auto next = unwanted("evt_good" + std::to_string(++good));
            EXPECT_EQ(server_.post_signed(next), ignored) << "a good event was not taken";
        }
        EXPECT_GT(rows.size(), 30U);
    }

    Finished inspect(std::vector<std::string> arguments) {
        arguments.insert(arguments.begin(), STEPLOG_BIN_DIR "/workflow-inspect");
        return run(arguments, {{"STEPLOG_DATABASE", (directory_ / "steplog.db").string()}});
    }

    TemporaryDirectory directory_;
    LiveServer server_{server_environment(directory_ / "steplog.db")};
};

TEST_F(BadInput, Rows42To58AreJudgedByTheirSignatureAlone) { expect_answers(signature_rows()); }

TEST_F(BadInput, Rows55To67AreKeptAsTheyCameWhateverTheyHold) {
    expect_answers(json_rows());
    EXPECT_EQ(server_.sql("SELECT count(*) FROM instances"), "0");
    // Row 78: what an id holds forges no line of the log and moves no cursor.
    server_.process.signal(SIGTERM);
    ASSERT_TRUE(server_.process.wait());
    const std::string log = server_.process.errors();
    EXPECT_THAT(log, Not(HasSubstr("\x1b")));
    EXPECT_THAT(log, Not(HasSubstr("forged")));
    std::istringstream lines(log);
    for (std::string line; std::getline(lines, line);)
        EXPECT_TRUE(Json::accept(line)) << "no line of our own: " << line.substr(0, 200);
    for (const char* verb : {"events", "check"}) {
        const Finished done = inspect({verb});
        EXPECT_EQ(done.exit.code, 0) << done.output;
        EXPECT_THAT(done.output, Not(HasSubstr("\x1b")));
    }
    const Finished unrouted = inspect({"events", "--unrouted", "--json"});
    EXPECT_EQ(std::to_string(Json::parse(unrouted.output).size()),
              server_.sql("SELECT count(*) FROM events"));
}

TEST_F(BadInput, Rows54And62To65AreDecidedByWhatTheirTypeNeeds) {
    expect_answers(event_rows());
    EXPECT_EQ(server_.sql("SELECT reason FROM events WHERE disposition='ignored' AND "
                          "type='checkout.session.completed'"),
              "a live event, and the key is a test key");
}

TEST_F(BadInput, Rows53And66AreOneEventHoweverOftenAndWithWhateverBody) {
    const auto body = file_text("06_checkout.session.completed.json");
    const auto signature = signature_of(body);
    EXPECT_EQ(server_.post(body, {signature}), received);
    EXPECT_EQ(server_.post(body, {signature}), already_processed);
    EXPECT_EQ(server_.sql("SELECT conflicts FROM events"), "0");
    EXPECT_EQ(server_.post_signed(body + "\n"), already_processed);
    EXPECT_TRUE(server_.process.wait_for_error_line("dedupe_conflict"));
    EXPECT_EQ(server_.sql("SELECT conflicts FROM events"), "1");
    EXPECT_EQ(newest("body"), body);
    EXPECT_EQ(server_.sql("SELECT count(*) FROM instances"), "1");
}

TEST(BadSettings, Row51EmptyAndShortSecretsDoNotStart) {
    const TemporaryDirectory directory;
    for (const std::string secret : {"", " ", "\t", ",", "whsec_short", "whsec_NotARealSecret0000,",
                                     ",whsec_NotARealSecret0000", "whsec_NotARealSecret0000, ,x"}) {
        auto environment = server_environment(directory / "steplog.db");
        environment["STRIPE_WEBHOOK_SECRET"] = secret;
        const Finished done = run({LiveServer::program}, environment);
        EXPECT_EQ(done.exit.code, 1) << "'" << secret << "'";
        EXPECT_THAT(done.errors, HasSubstr("STRIPE_WEBHOOK_SECRET: "));
        EXPECT_FALSE(std::filesystem::exists(directory / "steplog.db"));
    }
}

}  // namespace
}  // namespace steplog::testing
