// The Stripe stand-in against what Stripe documents.
#include "tests/sandbox/client.h"

namespace steplog::sandbox {
namespace {

std::string error_of(const Answered& answer, const char* field) {
    return answer.body.contains("error") ? string_at(answer.body.at("error"), field) : "";
}

std::string new_customer(Client& client, const std::string& form = "email=ada%40example.com") {
    return string_at(client.stripe("POST", "/v1/customers", form).body, "id");
}

TEST(Stripe, SetsAndUnsetsMetadataInBrackets) {
    Client client;
    const std::string id = new_customer(client, "metadata[old]=1&metadata%5Bkept%5D=2");
    const auto updated = client.stripe(
        "POST", "/v1/customers/" + id,
        "name=Ada%20Lovelace+%26%20S%C3%B6ns&metadata[clerk_user_id]=user_1&metadata[old]=");
    EXPECT_EQ(updated.status, 200);
    EXPECT_EQ(updated.body.at("metadata"), (Json{{"kept", "2"}, {"clerk_user_id", "user_1"}}));
    EXPECT_EQ(updated.body.at("name"), "Ada Lovelace & Söns");
    EXPECT_EQ(client.stripe("GET", "/v1/customers/" + id).body, updated.body);
    client.stripe("POST", "/v1/customers/" + id, "metadata=");
    EXPECT_TRUE(client.stripe("GET", "/v1/customers/" + id).body.at("metadata").empty());
}

std::vector<std::string> caused(Client& client) {
    std::vector<std::string> types;
    for (const Event& event : client.sandbox.take_outbox()) types.push_back(event.type);
    return types;
}

// As `stripe trigger checkout.session.completed` does it.
TEST(Stripe, LetsSomebodyPayOnASessionsPage) {
    Client client;
    const auto session = client.stripe("POST", "/v1/checkout/sessions", "mode=payment");
    const std::string page = "/v1/payment_pages/" + string_at(session.body, "id");
    EXPECT_EQ(client.stripe("GET", page).body.at("status"), "open");
    const auto method = client.stripe("POST", "/v1/payment_methods",
                                      "type=card&card[token]=tok_visa&billing_details[email]="
                                      "ada%40example.com&billing_details[name]=Ada");
    caused(client);
    const std::string with = "payment_method=" + string_at(method.body, "id");
    const auto paid = client.stripe("POST", page + "/confirm", with);
    EXPECT_EQ(paid.status, 200);
    EXPECT_EQ(paid.body.at("payment_status"), "paid");
    EXPECT_EQ(paid.body.at("customer_details").at("email"), "ada@example.com");
    EXPECT_EQ(caused(client), std::vector<std::string>{"checkout.session.completed"});
    EXPECT_EQ(client.stripe("POST", page + "/confirm", with).status, 400);
    EXPECT_EQ(client.stripe("GET", "/v1/payment_pages/cs_nobody").status, 404);
}

// As `stripe trigger invoice.paid` does it.
TEST(Stripe, PaysAnInvoiceMadeByHand) {
    Client client;
    const std::string customer = new_customer(client);
    const auto attached =
        client.stripe("POST", "/v1/payment_methods/pm_card_visa/attach", "customer=" + customer);
    EXPECT_EQ(attached.body.at("customer"), customer);
    for (const char* amount : {"2000", "500"})
        client.stripe("POST", "/v1/invoiceitems",
                      "customer=" + customer + "&currency=usd&amount=" + amount);
    const auto invoice = client.stripe("POST", "/v1/invoices", "customer=" + customer);
    EXPECT_EQ(invoice.body.at("status"), "draft");
    EXPECT_EQ(invoice.body.at("amount_due"), 2500);
    caused(client);
    const std::string pay = "/v1/invoices/" + string_at(invoice.body, "id") + "/pay";
    EXPECT_EQ(client.stripe("POST", pay).body.at("amount_paid"), 2500);
    EXPECT_EQ(caused(client),
              (std::vector<std::string>{"invoice.payment_succeeded", "invoice.paid"}));
    EXPECT_EQ(client.stripe("POST", pay).status, 400);
    EXPECT_EQ(client.stripe("POST", "/v1/invoices", "customer=cus_nobody").status, 404);
}

TEST(Stripe, AnswersADeletedCustomerWith200AndDeleted) {
    Client client;
    const std::string id = new_customer(client);
    EXPECT_EQ(client.stripe("DELETE", "/v1/customers/" + id).body.at("deleted"), true);
    const auto gone = client.stripe("GET", "/v1/customers/" + id);
    EXPECT_EQ(gone.status, 200);
    EXPECT_EQ(gone.body, (Json{{"id", id}, {"object", "customer"}, {"deleted", true}}));
    EXPECT_EQ(client.stripe("POST", "/v1/customers/" + id, "name=A").status, 404);
    EXPECT_TRUE(client.stripe("GET", "/v1/customers").body.at("data").empty());
}

TEST(Stripe, RefusesAWrongKeyAndSaysSoInItsOwnShape) {
    Client client;
    const auto refused =
        client.stripe("GET", "/v1/customers", "", {{"Authorization", "Bearer nonsense"}});
    EXPECT_EQ(refused.status, 401);
    EXPECT_EQ(error_of(refused, "type"), "invalid_request_error");
    EXPECT_FALSE(refused.header("Request-Id").empty());
    EXPECT_EQ(
        client.stripe("GET", "/v1/customers", "", {{"Authorization", "Basic c2tfdGVzdF94Og=="}})
            .status,
        200);
}

TEST(Stripe, NamesWhatIsMissing) {
    Client client;
    const auto missing = client.stripe("GET", "/v1/customers/cus_nobody");
    EXPECT_EQ(missing.status, 404);
    EXPECT_EQ(error_of(missing, "code"), "resource_missing");
    EXPECT_EQ(error_of(missing, "param"), "id");
    EXPECT_EQ(error_of(client.stripe("POST", "/v1/customers", "color=red"), "code"),
              "parameter_unknown");
    EXPECT_EQ(error_of(client.stripe("GET", "/v1/customers?limit=101"), "param"), "limit");
    EXPECT_EQ(client.stripe("GET", "/v1/customers?limit=0").status, 400);
    EXPECT_EQ(client.stripe("GET", "/v1/nothing").status, 404);
}

TEST(Stripe, PagesNewestFirstInBothDirections) {
    Client client;
    std::vector<std::string> ids;
    for (int i = 0; i < 7; ++i) ids.push_back(new_customer(client));
    const auto ids_of = [](const Answered& page) {
        std::vector<std::string> found;
        for (const Json& object : page.body.at("data")) found.push_back(string_at(object, "id"));
        return found;
    };
    const auto first = client.stripe("GET", "/v1/customers?limit=3");
    EXPECT_EQ(ids_of(first), (std::vector{ids[6], ids[5], ids[4]}));
    EXPECT_EQ(first.body.at("has_more"), true);
    const auto last = client.stripe("GET", "/v1/customers?limit=5&starting_after=" + ids[3]);
    EXPECT_EQ(ids_of(last), (std::vector{ids[2], ids[1], ids[0]}));
    EXPECT_EQ(last.body.at("has_more"), false);
    const auto newer = client.stripe("GET", "/v1/customers?limit=2&ending_before=" + ids[1]);
    EXPECT_EQ(ids_of(newer), (std::vector{ids[3], ids[2]}));
    EXPECT_EQ(newer.body.at("has_more"), true);
    EXPECT_EQ(client.stripe("GET", "/v1/customers?starting_after=cus_nobody").status, 404);
}

TEST(Stripe, FiltersListsByEmailAndTime) {
    Client client;
    new_customer(client, "email=old%40example.com");
    client.clock.advance(Ms(10'000));
    const std::string id = new_customer(client, "email=ada%2Btest%40example.com");
    const std::int64_t now_s = client.clock.now_ms() / 1000;
    const auto count = [&](const std::string& query) {
        return client.stripe("GET", "/v1/customers?" + query).body.at("data").size();
    };
    EXPECT_EQ(count("email=ada%2Btest%40example.com"), 1u);
    EXPECT_EQ(count("email=Ada%2Btest%40example.com"), 0u) << "the filter is case-sensitive";
    EXPECT_EQ(count("created[gte]=" + std::to_string(now_s)), 1u);
    EXPECT_EQ(count("created[lt]=" + std::to_string(now_s)), 1u);
    EXPECT_EQ(count("created[gte]=" + std::to_string(now_s + 1)), 0u);
}

TEST(Stripe, SearchesByEmailAndByAbsentMetadata) {
    Client client;
    new_customer(client, "email=ada%40example.com&metadata[clerk_user_id]=user_1");
    const std::string unlinked = new_customer(client, "email=ada%40example.com");
    new_customer(client, "email=eve%40example.com");
    const auto found =
        client.stripe("GET",
                      "/v1/customers/search?query=email%3A%27ada%40example.com%27%20AND%20"
                      "metadata[%27clerk_user_id%27]%3Anull&limit=10");
    EXPECT_EQ(found.body.at("object"), "search_result");
    ASSERT_EQ(found.body.at("data").size(), 1u);
    EXPECT_EQ(found.body.at("data")[0].at("id"), unlinked);
    EXPECT_EQ(client.stripe("GET", "/v1/customers/search?query=nonsense").status, 400);
}

TEST(Stripe, LeavesCanceledSubscriptionsOutUnlessAsked) {
    Client client;
    const Purchase bought = client.sandbox.purchase();
    client.stripe("DELETE", "/v1/subscriptions/" + bought.subscription);
    const std::string query = "/v1/subscriptions?customer=" + bought.customer;
    EXPECT_EQ(client.stripe("GET", query).body.at("data").size(), 0u);
    EXPECT_EQ(client.stripe("GET", query + "&status=active").body.at("data").size(), 0u);
    EXPECT_EQ(client.stripe("GET", query + "&status=canceled").body.at("data").size(), 1u);
    EXPECT_EQ(client.stripe("GET", query + "&status=ended").body.at("data").size(), 1u);
    const auto all = client.stripe("GET", query + "&status=all&limit=100&expand[0]=data.customer");
    ASSERT_EQ(all.body.at("data").size(), 1u);
    EXPECT_EQ(all.body.at("data")[0].at("customer").at("id"), bought.customer);
    const auto canceled = client.stripe("POST", "/v1/subscriptions/" + bought.subscription,
                                        "cancel_at_period_end=true");
    EXPECT_EQ(canceled.status, 400) << "a canceled subscription takes metadata only";
}

TEST(Stripe, ExpandsObjectsAndRefusesWhatCannotBeExpanded) {
    Client client;
    const Purchase bought = client.sandbox.purchase();
    const auto session = client.stripe("GET", "/v1/checkout/sessions/" + bought.session +
                                                  "?expand[0]=customer&expand[]=subscription");
    EXPECT_EQ(session.body.at("customer").at("email"), "ada@example.com");
    EXPECT_EQ(session.body.at("subscription").at("status"), "active");
    EXPECT_EQ(
        client.stripe("GET", "/v1/customers/" + bought.customer + "?expand[]=nonsense").status,
        400);
    const auto by_email = client.stripe(
        "GET", "/v1/checkout/sessions?customer_details[email]=ada%40example.com&limit=10");
    EXPECT_EQ(by_email.body.at("data").size(), 1u);
}

TEST(Stripe, ReplaysAnAnswerUnderItsIdempotencyKey) {
    Client client;
    const std::string id = new_customer(client);
    const std::string path = "/v1/customers/" + id;
    const auto first =
        client.stripe("POST", path, "metadata[a]=1&metadata[b]=2", {{"Idempotency-Key", "k1"}});
    client.stripe("POST", path, "metadata[a]=9");
    const auto again =
        client.stripe("POST", path, "metadata[b]=2&metadata[a]=1", {{"idempotency-key", "k1"}});
    EXPECT_EQ(again.body, first.body) << "the order of the parameters does not matter";
    EXPECT_EQ(again.header("Idempotent-Replayed"), "true");
    EXPECT_EQ(first.header("Idempotent-Replayed"), "");
    EXPECT_EQ(client.sandbox.stripe_object(id)->at("metadata").at("a"), "9");
    EXPECT_EQ(client.sandbox.effects().at("k1"), 1);
    const auto other = client.stripe("POST", path, "metadata[a]=3", {{"Idempotency-Key", "k1"}});
    EXPECT_EQ(other.status, 400);
    EXPECT_EQ(error_of(other, "type"), "idempotency_error");
}

TEST(Stripe, ForgetsAnIdempotencyKeyAfterADay) {
    Client client;
    const std::string id = new_customer(client);
    const auto post = [&] {
        return client.stripe("POST", "/v1/customers/" + id, "metadata[a]=1",
                             {{"Idempotency-Key", "k1"}});
    };
    post();
    client.clock.advance(std::chrono::hours(24) - Ms(1));
    EXPECT_EQ(post().header("Idempotent-Replayed"), "true");
    client.clock.advance(Ms(1));
    EXPECT_EQ(post().header("Idempotent-Replayed"), "");
    EXPECT_EQ(client.sandbox.effects().at("k1"), 2);
}

TEST(Stripe, StoresRefusalsOnceItBeganToExecuteAndValidationFailuresNever) {
    Client client;
    const steps::Headers key = {{"Idempotency-Key", "k1"}};
    EXPECT_EQ(client.stripe("POST", "/v1/customers/cus_x", "name=A", key).status, 404);
    EXPECT_EQ(
        client.stripe("POST", "/v1/customers/cus_x", "name=A", key).header("Idempotent-Replayed"),
        "true");
    const steps::Headers other = {{"Idempotency-Key", "k2"}};
    EXPECT_EQ(client.stripe("POST", "/v1/customers", "color=red", other).status, 400);
    EXPECT_EQ(client.stripe("POST", "/v1/customers", "name=A", other).status, 200);
    const steps::Headers wrong = {{"Idempotency-Key", "k3"}, {"Authorization", "Bearer no"}};
    EXPECT_EQ(client.stripe("POST", "/v1/customers", "name=A", wrong).status, 401);
    EXPECT_EQ(client.stripe("POST", "/v1/customers", "name=A", {{"Idempotency-Key", "k3"}}).status,
              200);
    EXPECT_EQ(
        client
            .stripe("POST", "/v1/customers", "name=A", {{"Idempotency-Key", std::string(256, 'k')}})
            .status,
        400);
}

TEST(Stripe, RefusesAKeyThatIsInUse) {
    Client client;
    const SandboxRequest request{
        .method = "POST",
        .target = "/v1/customers",
        .headers = {{"Authorization", "Bearer sk_test_x"}, {"Idempotency-Key", "k1"}},
        .body = "name=A"};
    const Exchange first = client.sandbox.exchange(request);
    const Exchange second = client.sandbox.exchange(request);
    EXPECT_EQ(second.reply.status, 409);
    EXPECT_NE(second.reply.body.find("idempotency_key_in_use"), std::string::npos);
    client.sandbox.finish(second);
    client.sandbox.finish(first);
    const steps::HttpReply replayed = client.sandbox.handle(request);
    EXPECT_EQ(replayed.status, 200);
    EXPECT_EQ(header_of(replayed.headers, "Idempotent-Replayed"), "true");
    EXPECT_EQ(client.sandbox.concurrent_max(Provider::stripe), 2);
}

TEST(Stripe, KeepsConnectAccountsAndModesApart) {
    Client client;
    const steps::Headers connect = {{"Stripe-Account", "acct_1"}};
    const auto theirs = client.stripe("POST", "/v1/customers", "name=A", connect);
    const std::string id = string_at(theirs.body, "id");
    EXPECT_EQ(client.stripe("GET", "/v1/customers/" + id).status, 404);
    EXPECT_EQ(client.stripe("GET", "/v1/customers/" + id, "", connect).status, 200);
    const auto live = client.stripe("GET", "/v1/customers/" + new_customer(client), "",
                                    {{"Authorization", "Bearer sk_live_x"}});
    EXPECT_EQ(live.status, 404);
    EXPECT_NE(error_of(live, "message").find("test mode"), std::string::npos);
}

TEST(Stripe, TellsOfAWriteByAnEventThatCarriesItsKey) {
    Client client;
    const Purchase bought = client.sandbox.purchase();
    const steps::Headers key = {{"Idempotency-Key", "steplog:wf_1:update_subscription"}};
    const std::string path = "/v1/subscriptions/" + bought.subscription;
    const auto answer = client.stripe("POST", path, "metadata[clerk_user_id]=user_1", key);
    client.stripe("POST", path, "metadata[clerk_user_id]=user_1", key);
    const std::vector<Event> caused = client.sandbox.take_outbox();
    ASSERT_EQ(caused.size(), 1u) << "a replay causes nothing";
    const Json event = event_json(caused[0]);
    EXPECT_EQ(event.at("type"), "customer.subscription.updated");
    EXPECT_EQ(event.at("request").at("idempotency_key"), "steplog:wf_1:update_subscription");
    EXPECT_EQ(event.at("request").at("id"), answer.header("Request-Id"));
    EXPECT_EQ(event.at("data").at("previous_attributes"),
              (Json{{"metadata", {{"clerk_user_id", nullptr}}}}));
    EXPECT_EQ(event.at("data").at("object").at("metadata").at("clerk_user_id"), "user_1");
    client.stripe("POST", path, "metadata[clerk_user_id]=user_1");
    EXPECT_TRUE(client.sandbox.take_outbox().empty()) << "nothing changed";
}

TEST(Stripe, ListsEventsByTypeAndByWhetherTheyWereDelivered) {
    Client client;
    const Purchase bought = client.sandbox.purchase();
    const std::string query =
        "/v1/"
        "events?delivery_success=false&types[0]=checkout.session.completed&types[1]=invoice.paid";
    const auto lost = client.stripe("GET", query + "&limit=100");
    ASSERT_EQ(lost.body.at("data").size(), 2u);
    EXPECT_EQ(lost.body.at("data")[0].at("type"), "checkout.session.completed");
    client.sandbox.mark_delivered(string_at(lost.body.at("data")[0], "id"));
    EXPECT_EQ(client.stripe("GET", query).body.at("data").size(), 1u);
    const auto after = client.stripe("GET", "/v1/events?ending_before=" + bought.events[0].id);
    EXPECT_EQ(after.body.at("data").size(), 5u);
    EXPECT_EQ(client.stripe("GET", "/v1/events/" + bought.events[0].id).body,
              event_json(bought.events[0]));
}

TEST(Stripe, SendsAnEventAgainOnRetry) {
    Client client;
    const Purchase bought = client.sandbox.purchase();
    const std::string id = bought.events[3].id;
    EXPECT_EQ(client.stripe("POST", "/v1/events/" + id + "/retry", "for_stripecli=true").status,
              200);
    const std::vector<Event> again = client.sandbox.take_outbox();
    ASSERT_EQ(again.size(), 1u);
    EXPECT_EQ(again[0].body, bought.events[3].body);
}

TEST(Stripe, CreatesWhatACheckoutNeeds) {
    Client client;
    const auto product = client.stripe("POST", "/v1/products", "name=Pro");
    const auto price =
        client.stripe("POST", "/v1/prices",
                      "currency=usd&unit_amount=1900&recurring[interval]=month&product=" +
                          string_at(product.body, "id"));
    EXPECT_EQ(price.body.at("unit_amount"), 1900);
    const auto session = client.stripe(
        "POST", "/v1/checkout/sessions",
        "mode=subscription&success_url=https%3A%2F%2Fapp.example.com&line_items[0][price]=" +
            string_at(price.body, "id") + "&line_items[0][quantity]=1&metadata[plan]=pro");
    EXPECT_EQ(session.body.at("status"), "open");
    EXPECT_EQ(session.body.at("metadata").at("plan"), "pro");
    const std::string customer = new_customer(client);
    const auto subscription =
        client.stripe("POST", "/v1/subscriptions",
                      "customer=" + customer +
                          "&trial_period_days=14&items[0][price]=" + string_at(price.body, "id"));
    EXPECT_EQ(subscription.body.at("status"), "trialing");
    EXPECT_EQ(client.stripe("POST", "/v1/subscriptions", "customer=cus_x&items[0][price]=p").status,
              400);
}

}  // namespace
}  // namespace steplog::sandbox
