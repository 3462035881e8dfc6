// Feeds whole replies to the clients of Stripe, Clerk and Resend. Whatever a provider, or whoever
// speaks for it, answers: a call ends with what was promised, a RetryableError or a PermanentError;
// nothing is completed by a reply that does not say so; and no error text holds what the reply
// said. Input: a byte for the call, one for the status, headers up to an empty line, the body.
#include <algorithm>
#include <array>

#include "engine/clock.h"
#include "engine/errors.h"
#include "steps/clerk_client.h"
#include "steps/email_resend.h"
#include "steps/purchase.h"
#include "steps/stripe_client.h"
#include "tests/fuzz/fuzz.h"

namespace {

using namespace steplog;
using namespace steplog::steps;
using fuzz::hold;

/// The same reply, however often it is asked.
class OneReply : public HttpTransport {
  public:
    explicit OneReply(HttpReply reply) : reply_(std::move(reply)) {}
    HttpReply send(const HttpRequest& request) override {
        hold(!request.target.empty() && request.target.front() == '/');
        hold(request.target.find_first_of("\r\n ") == std::string::npos);
        for (const auto& [name, value] : request.headers)
            hold(value.find_first_of("\r\n") == std::string::npos && !name.empty());
        hold(++sent_ < 20);
        return reply_;
    }

  private:
    HttpReply reply_;
    int sent_ = 0;
};

class FixedClock : public Clock {
  public:
    std::int64_t now_ms() const override { return 1'793'520'000'000; }
};

HttpReply reply_of(std::string_view input) {
    constexpr std::array statuses = {200, 201, 204, 302, 400, 401, 402, 403, 404, 408,
                                     409, 422, 425, 429, 500, 502, 503, 504, 100, 599};
    HttpReply reply;
    reply.status = statuses[fuzz::take_byte(input) % statuses.size()];
    while (!input.empty()) {
        std::string_view line = fuzz::take_until(input, '\n');
        if (line.empty()) break;
        const std::string name(fuzz::take_until(line, ':'));
        reply.headers.emplace_back(name, std::string(line));
    }
    reply.body = input;
    return reply;
}

/// An error text is made of our own words and of the provider's plain ones.
void check_text(const std::string& text) {
    hold(!text.empty() && text.size() <= 700);
    for (const char c : text) hold(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
    hold(text.find_first_of("<>@\"") == std::string::npos);
}

void ask_stripe(unsigned which, const StripeClient& stripe, const Call& call) {
    Json object;
    switch (which) {
        case 0:
            object = stripe.get_customer("cus_1", "", call);
            break;
        case 1:
            object = stripe.get_subscription("sub_1", "acct_1", call);
            break;
        case 2:
            object = stripe.get_related_object("/v1/invoices/in_1", "in_1", "org_1/acct_1", call);
            break;
        case 3:
            stripe.update_customer_metadata("cus_1", "clerk_user_id", "user_1", "", call);
            return;
        default:
            stripe.update_subscription_metadata("sub_1", "clerk_user_id", "user_1", "", call);
            return;
    }
    constexpr std::array ids = {"cus_1", "sub_1", "in_1"};
    hold(object.is_object() && object.value("id", "") == ids[which]);
    Purchase purchase = purchase_of(EventKind::invoice_paid, object, false, "");
    add_customer(purchase, object);
    hold(purchase.email.find_first_of("\r\n \"<>") == std::string::npos);
}

bool is_plain_id(const std::string& id) {
    return !id.empty() && std::all_of(id.begin(), id.end(), [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '_';
    });
}

void ask_clerk(unsigned which, const ClerkClient& clerk, const Call& call) {
    std::optional<ClerkUser> user;
    switch (which) {
        case 5:
            user = clerk.find_by_id("user_1", call);
            hold(!user || user->id == "user_1");
            break;
        case 6:
            user = clerk.find_by_external_id("cus_1", call);
            hold(!user || user->external_id == "cus_1");
            break;
        case 7:
            user = clerk.find_by_email("ada@example.com", call);
            break;
        case 8:
            user = clerk.create_user({.email = "ada@example.com",
                                      .first_name = "",
                                      .last_name = "",
                                      .external_id = "cus_1"},
                                     call);
            break;
        case 9:
            clerk.set_external_id("user_1", "cus_1", call);
            return;
        default:
            clerk.add_stripe_customer_id("user_1", "cus_1", call);
            return;
    }
    if (user) hold(is_plain_id(user->id));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view input = fuzz::view_of(data, size);
    const unsigned which = fuzz::take_byte(input) % 12;
    const HttpReply reply = reply_of(input);
    OneReply transport(reply);
    const FixedClock clock;
    const Call call{.idempotency_key = "steplog:order/1:step"};
    const bool reads = which <= 2 || (which >= 5 && which <= 7);
    try {
        if (which <= 4)
            ask_stripe(which, {transport, clock, {.base = "https://s.example", .secret_key = "k"}},
                       call);
        else if (which <= 10)
            ask_clerk(which, {transport, clock, {.base = "https://c.example", .secret_key = "k"}},
                      call);
        else
            hold(!ResendSender(transport, clock, {.base = "https://r.example", .api_key = "k"})
                      .send({{"to", "ada@example.com"}}, call)
                      .empty());
        // Only what the provider itself said may end a call well: a success, or a no that is the
        // answer to a question.
        hold((reply.status >= 200 && reply.status < 300) || reply.status == 404 ||
             reply.status == 422 || reply.status == 400);
    } catch (const RetryableError& error) {
        check_text(error.what());
        hold(!error.details().code.empty() && error.details().code.size() <= 100);
        if (reads) hold(error.details().outcome == Outcome::refused);
        if (error.details().retry_after)
            hold(*error.details().retry_after >= Ms(0) &&
                 *error.details().retry_after <= std::chrono::hours(1));
        // Adding a customer reads first: that this failed is for certain.
        const auto outcome = reads || which == 10 ? Outcome::refused : Outcome::unknown;
        if (reply.status >= 500) hold(error.details().outcome == outcome);
    } catch (const PermanentError& error) {
        check_text(error.what());
        hold(reply.status >= 400 && reply.status < 500);
    }
    return 0;
}
