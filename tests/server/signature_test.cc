#include "server/signature.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

namespace steplog::server {
namespace {

using nlohmann::json;

constexpr std::int64_t now_s = 1793520300;
const std::string secret = "whsec_5WbX5kEWLlfzsGNjH64I8lOOqUB6e8FH";
const std::string body = R"({"id":"evt_1"})";

Signature judge(const std::string& header, const std::string& text = body,
                const std::vector<std::string>& secrets = {secret}) {
    return verify_stripe_signature(header, text, secrets, 300, now_s);
}

class SignatureVectors : public ::testing::TestWithParam<const char*> {};

TEST_P(SignatureVectors, AreJudgedAsByStripesOwnSdk) {
    std::ifstream file(std::string(STEPLOG_SOURCE_DIR "/tests/data/vectors/") + GetParam());
    const auto document = json::parse(file);
    ASSERT_GE(document.at("vectors").size(), 19U);
    for (const auto& vector : document.at("vectors")) {
        const auto verdict = verify_stripe_signature(
            vector.at("header").get<std::string>(), vector.at("body").get<std::string>(),
            vector.at("secrets").get<std::vector<std::string>>(),
            vector.at("tolerance_s").get<std::int64_t>(), vector.at("now").get<std::int64_t>());
        EXPECT_EQ(verdict == Signature::valid, vector.at("valid").get<bool>())
            << vector.at("name") << ": " << to_string(verdict);
    }
}

INSTANTIATE_TEST_SUITE_P(Files, SignatureVectors,
                         ::testing::Values("stripe.signature.vectors.json",
                                           "stripe.signature.edges.json"),
                         [](const auto& file) {
                             return std::string(file.param).find("edges") != std::string::npos
                                        ? "edges"
                                        : "ordinary";
                         });

TEST(SignatureHeader, IsWhatTheVerifierAccepts) {
    EXPECT_EQ(judge(stripe_signature_header(body, secret, now_s)), Signature::valid);
    EXPECT_EQ(judge(stripe_signature_header("", secret, now_s), ""), Signature::valid);
}

TEST(SignatureVerifier, SaysWhyInItsVerdict) {
    const auto good = stripe_signature_header(body, secret, now_s);
    EXPECT_EQ(judge(""), Signature::missing);
    EXPECT_EQ(judge("v1=" + good.substr(good.find("v1=") + 3)), Signature::malformed);
    EXPECT_EQ(judge("t=" + std::to_string(now_s)), Signature::no_scheme);
    EXPECT_EQ(judge(good, body + " "), Signature::mismatch);
    EXPECT_EQ(judge(stripe_signature_header(body, secret, now_s - 301)), Signature::too_old);
    EXPECT_EQ(judge(stripe_signature_header(body, secret, now_s - 300)), Signature::valid);
}

TEST(SignatureVerifier, TakesAnyOfTheSecretsThatAreValidNow) {
    const std::string older = "whsec_oldoldoldoldoldoldoldoldoldold0";
    const auto signed_with_older = stripe_signature_header(body, older, now_s);
    EXPECT_EQ(judge(signed_with_older, body, {secret, older}), Signature::valid);
    EXPECT_EQ(judge(signed_with_older, body, {older, secret}), Signature::valid);
    EXPECT_EQ(judge(signed_with_older, body, {secret}), Signature::mismatch);
    EXPECT_EQ(judge(signed_with_older, body, {}), Signature::mismatch);
}

TEST(SignatureVerifier, NeverTakesAnEmptySecret) {
    EXPECT_EQ(judge(stripe_signature_header(body, "", now_s), body, {""}), Signature::mismatch);
}

TEST(SignatureVerifier, BoundsWhatItIsAskedToCompare) {
    const auto good = stripe_signature_header(body, secret, now_s);
    const std::string one_more = "," + good.substr(good.find("v1="));
    std::string header = good;
    for (int i = 1; i < 8; ++i) header += one_more;
    EXPECT_EQ(judge(header), Signature::valid);
    EXPECT_EQ(judge(header + one_more), Signature::malformed);
    for (int i = 0; i < 1000; ++i) header += one_more;
    EXPECT_EQ(judge(header), Signature::malformed);
}

TEST(SignatureVerifier, RefusesTimesThatAreNoTimes) {
    for (const std::string time :
         {"-1", "-1793520300", "99999999999999999999", "x", " ", "", "+-1", "--1"}) {
        EXPECT_EQ(judge("t=" + time + ",v1=" + std::string(64, '0')), Signature::malformed) << time;
    }
}

TEST(SignatureVerifier, JudgesBytesAndNotText) {
    const std::string bytes("\xFF\x00\xC3(", 4);
    EXPECT_EQ(judge(stripe_signature_header(bytes, secret, now_s), bytes), Signature::valid);
    EXPECT_EQ(judge(stripe_signature_header(bytes, secret, now_s), bytes.substr(0, 1)),
              Signature::mismatch);
}

}  // namespace
}  // namespace steplog::server
