#include "server/trace_spans.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/context.h"

namespace steplog::server {
namespace {

constexpr std::int64_t now_ms = 1'800'000'000'000;

Transitioned attempt_of(const std::string& what, const std::string& code = "") {
    return {.instance = "provision_customer/evt_1",
            .workflow = "provision_customer",
            .step = "create_clerk_user",
            .what = what,
            .error_code = code,
            .error = "Jane <jane@example.org> is not known",
            .attempt = 2,
            .epoch = 3,
            .took_ms = 45};
}

Transitioned end_of(const std::string& what) {
    return {.instance = "provision_customer/evt_1",
            .workflow = "provision_customer",
            .what = what,
            .epoch = 4,
            .took_ms = 1000};
}

Json encoded(const std::vector<Span>& spans) { return Json::parse(otlp_request(spans, "shop")); }

TEST(TraceSpans, AreWhatOtlpsJsonLooksLike) {
    const Json request = encoded({*span_of(attempt_of("retried", "http_503"), now_ms)});
    const Json& of_resource = request.at("resourceSpans").at(0);
    EXPECT_EQ(of_resource.at("resource").at("attributes").at(0),
              Json::parse(R"({"key":"service.name","value":{"stringValue":"shop"}})"));
    EXPECT_EQ(of_resource.at("scopeSpans").at(0).at("scope").at("name"), "steplog");
    const Json& span = of_resource.at("scopeSpans").at(0).at("spans").at(0);
    EXPECT_THAT(span.at("traceId").get<std::string>(), ::testing::MatchesRegex("[0-9a-f]{32}"));
    EXPECT_THAT(span.at("spanId").get<std::string>(), ::testing::MatchesRegex("[0-9a-f]{16}"));
    EXPECT_EQ(span.at("name"), "create_clerk_user");
    EXPECT_EQ(span.at("kind"), 3);
    EXPECT_EQ(span.at("startTimeUnixNano"), "1799999999955000000");
    EXPECT_EQ(span.at("endTimeUnixNano"), "1800000000000000000");
    EXPECT_EQ(span.at("status"), Json::parse(R"({"code":2})"));
    const Json attributes = Json::parse(R"([
        {"key":"steplog.instance","value":{"stringValue":"provision_customer/evt_1"}},
        {"key":"steplog.workflow","value":{"stringValue":"provision_customer"}},
        {"key":"steplog.outcome","value":{"stringValue":"retried"}},
        {"key":"steplog.epoch","value":{"intValue":"3"}},
        {"key":"steplog.step","value":{"stringValue":"create_clerk_user"}},
        {"key":"steplog.attempt","value":{"intValue":"2"}},
        {"key":"error.type","value":{"stringValue":"http_503"}}])");
    EXPECT_EQ(span.at("attributes"), attributes);
    EXPECT_THAT(request.dump(), ::testing::Not(::testing::HasSubstr("jane")));
}

TEST(TraceSpans, HangUnderOneRootThatHasNoParent) {
    const Span attempt = *span_of(attempt_of("completed"), now_ms);
    const Span root = *span_of(end_of("finished"), now_ms);
    EXPECT_EQ(attempt.trace_id, trace_id_of("provision_customer/evt_1"));
    EXPECT_EQ(root.trace_id, attempt.trace_id);
    EXPECT_EQ(attempt.parent_id, root.span_id);
    EXPECT_EQ(root.parent_id, "");
    EXPECT_EQ(root.name, "provision_customer");
    EXPECT_EQ(root.end_ms - root.begin_ms, 1000);
    EXPECT_FALSE(root.failed);
    const Json json = encoded({root}).at("resourceSpans").at(0).at("scopeSpans").at(0);
    EXPECT_FALSE(json.at("spans").at(0).contains("parentSpanId"));
    EXPECT_EQ(json.at("spans").at(0).at("kind"), 1);
    EXPECT_TRUE(span_of(end_of("stuck"), now_ms)->failed);
    EXPECT_EQ(span_of(end_of("stuck"), now_ms)->span_id, root.span_id);
}

TEST(TraceSpans, AreTheSameEveryTimeAndAnotherForEachAttempt) {
    const auto one = attempt_of("retried");
    auto next = attempt_of("completed");
    next.attempt = 3;
    auto afresh = attempt_of("completed");
    afresh.epoch = 9;
    EXPECT_EQ(span_of(one, now_ms)->span_id, span_of(one, now_ms + 1)->span_id);
    EXPECT_NE(span_of(one, now_ms)->span_id, span_of(next, now_ms)->span_id);
    EXPECT_NE(span_of(one, now_ms)->span_id, span_of(afresh, now_ms)->span_id);
}

TEST(TraceSpans, EndWithAnAttemptOrAnInstanceOnly) {
    for (const char* what : {"started", "parked", "sleeps", "near_limit"})
        EXPECT_FALSE(span_of(attempt_of(what), now_ms)) << what;
    EXPECT_FALSE(span_of({.instance = "provider:clerk", .what = "breaker_opened"}, now_ms));
}

TEST(TraceSpans, ReadHowManyTheCollectorRefused) {
    EXPECT_EQ(rejected_spans(R"({"partialSuccess":{"rejectedSpans":"3","errorMessage":"x"}})"), 3);
    EXPECT_EQ(rejected_spans(R"({"partialSuccess":{"rejectedSpans":2}})"), 2);
    for (const char* none : {"{}", "", "<html>", R"({"partialSuccess":{"rejectedSpans":"-1"}})",
                             R"({"partialSuccess":7})", R"({"partialSuccess":{}})"})
        EXPECT_EQ(rejected_spans(none), 0) << none;
}

}  // namespace
}  // namespace steplog::server
