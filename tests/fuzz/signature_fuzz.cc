// Feeds headers and bodies to the judge of Stripe's signatures. Nobody guesses an HMAC, so the
// header is a text in which some bytes stand for parts that only the sender can make; valid is then
// allowed only where one of those was used. The first line of the input is the header, the rest the
// body.
#include "server/signature.h"

#include <set>

#include "tests/fuzz/fuzz.h"

namespace {

using namespace steplog::server;
using steplog::fuzz::hold;

constexpr std::int64_t now_s = 1'793'520'000;
constexpr std::int64_t tolerance_s = 300;
const std::string secret = "whsec_NotARealSecret0000";
const std::string older_secret = "whsec_NotARealSecret_old";

std::string hex_of(std::string_view body, const std::string& by) {
    const auto header = stripe_signature_header(body, by, now_s);
    return header.substr(header.find("v1=") + 3);
}

std::string now_text() { return std::to_string(now_s); }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view body = steplog::fuzz::view_of(data, size);
    const std::string shape(steplog::fuzz::take_until(body, '\n'));
    const bool could_be_good = shape.find_first_of("\x02\x03") != std::string::npos;
    std::string header = steplog::fuzz::with_all(shape, "\x01", "t=" + now_text());
    header = steplog::fuzz::with_all(header, "\x02", "v1=" + hex_of(body, secret));
    header = steplog::fuzz::with_all(header, "\x03", "v1=" + hex_of(body, older_secret));
    header = steplog::fuzz::with_all(header, "\x04", "v1=" + hex_of(body, "whsec_OfSomebodyElse"));

    const auto judged = [&](const std::vector<std::string>& secrets, std::int64_t tolerance,
                            std::int64_t now = now_s) {
        return verify_stripe_signature(header, body, secrets, tolerance, now);
    };
    const Signature verdict = judged({secret, older_secret}, tolerance_s);
    hold(!to_string(verdict).empty() && to_string(verdict) != "unknown");
    hold(judged({older_secret, secret}, tolerance_s) == verdict);
    hold(judged({}, 0) != Signature::valid && judged({""}, 0) != Signature::valid);
    hold(judged({"whsec_AThirdSecret00000"}, 0) != Signature::valid);
    const bool by_either = judged({secret}, tolerance_s) == Signature::valid ||
                           judged({older_secret}, tolerance_s) == Signature::valid;
    hold(by_either == (verdict == Signature::valid));
    if (verdict != Signature::valid) return 0;
    hold(could_be_good);
    hold(header.find(now_text()) != std::string::npos);
    hold(judged({secret, older_secret}, tolerance_s, now_s + tolerance_s) == Signature::valid);
    hold(judged({secret, older_secret}, tolerance_s, now_s + tolerance_s + 1) ==
         Signature::too_old);
    const std::string changed = std::string(body) + " ";
    hold(verify_stripe_signature(header, changed, {secret, older_secret}, tolerance_s, now_s) !=
         Signature::valid);
    return 0;
}
