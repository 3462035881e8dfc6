// Stripe's objects with every field that API 2026-10-28.endive promises and no particular value:
// taken from the example resources of stripe/openapi (fixtures3.json, MIT). Ids, times and names
// are filled in by whoever makes an object. Parsed once; read by any thread.
#include "tools/sandbox/stripe_shapes.h"

namespace steplog::sandbox {
namespace {

constexpr std::string_view customer_text = R"json(
{"address":null,"balance":0,"created":0,"currency":null,"default_source":null,"delinquent":false
,"description":null,"discount":null,"email":null,"id":"","invoice_prefix":"","invoice_settings":
{"custom_fields":null,"default_payment_method":null,"footer":null,"rendering_options":null},
"livemode":false,"metadata":{},"name":null,"next_invoice_sequence":1,"object":"customer",
"phone":null,"preferred_locales":[],"shipping":null,"tax_exempt":"none","test_clock":null})json";

constexpr std::string_view subscription_text = R"json(
{"application":null,"application_fee_percent":null,"automatic_tax":{"enabled":false,
"liability":{"type":"account"},"disabled_reason":null},"billing_cycle_anchor":0,
"billing_cycle_anchor_config":null,"cancel_at":null,"canceled_at":null,"cancellation_details":{
"comment":null,"feedback":null,"reason":null,"feedback_option":null},"collection_method":
"charge_automatically","created":0,"currency":"usd","customer":null,"days_until_due":null,
"default_payment_method":null,"default_source":null,"default_tax_rates":[],"description":null,
"discounts":[],"ended_at":null,"id":"","invoice_settings":{"account_tax_ids":null,
"issuer":{"type":"self"},"custom_fields":null,"description":null,"footer":null},"items":{
"object":"list","data":[{"created":0,"discounts":[],"id":"","metadata":{},"object":
"subscription_item","price":{"active":true,"billing_scheme":"per_unit","created":1784520000,
"currency":"usd","custom_unit_amount":null,"id":"price_1TstPro00000000000000000",
"livemode":false,"lookup_key":"pro_monthly","metadata":{},"nickname":"Pro monthly",
"object":"price","product":"prod_TstPro0000000000","recurring":{"interval":"month",
"interval_count":1,"meter":null,"usage_type":"licensed","trial_period_days":null},
"tax_behavior":"unspecified","tiers_mode":null,"transform_quantity":null,"type":"recurring",
"unit_amount":1900,"unit_amount_decimal":"1900"},"quantity":1,"subscription":"","tax_rates":[],
"plan":{"active":true,"amount":1900,"amount_decimal":"1900","billing_scheme":"per_unit",
"created":1784520000,"currency":"usd","id":"price_1TstPro00000000000000000","interval":"month",
"interval_count":1,"livemode":false,"metadata":{},"meter":null,"nickname":null,"object":"plan",
"product":"prod_TstPro0000000000","tiers_mode":null,"transform_usage":null,"trial_period_days":
null,"usage_type":"licensed"},"current_period_end":0,"current_period_start":0,
"billing_thresholds":null}],"has_more":false,"url":"/v1/subscription_items"},"latest_invoice":
null,"livemode":false,"metadata":{},"next_pending_invoice_item_invoice":null,"object":
"subscription","on_behalf_of":null,"pause_collection":null,"payment_settings":{
"payment_method_options":null,"payment_method_types":null,"save_default_payment_method":"off"},
"pending_invoice_item_interval":null,"pending_setup_intent":null,"pending_update":null,
"schedule":null,"start_date":0,"status":"active","test_clock":null,"transfer_data":null,
"trial_end":null,"trial_settings":{"end_behavior":{"missing_payment_method":"create_invoice",
"billing_cycle_anchor":null}},"trial_start":null,"cancel_at_period_end":false,"billing_schedules":[],
"billing_thresholds":null,"billing_mode":{"type":"classic","flexible":{}},"customer_account":
null,"managed_payments":{"enabled":false}})json";

constexpr std::string_view invoice_text = R"json(
{"account_country":"US","account_name":"Acme","account_tax_ids":null,"amount_due":1900,
"amount_paid":1900,"amount_remaining":0,"amount_shipping":0,"application":null,"attempt_count":1
,"attempted":true,"auto_advance":false,"automatic_tax":{"enabled":false,"liability":{"type":
"account"},"status":null,"disabled_reason":null,"provider":null},"billing_reason":
"subscription_create","collection_method":"charge_automatically","created":0,"currency":"usd",
"custom_fields":null,"customer":null,"customer_address":null,"customer_email":null,
"customer_name":null,"customer_phone":null,"customer_shipping":null,"customer_tax_exempt":"none"
,"customer_tax_ids":[],"default_payment_method":null,"default_source":null,"default_tax_rates":[
],"description":null,"discounts":[],"due_date":null,"effective_at":0,"ending_balance":0,
"footer":null,"from_invoice":null,"hosted_invoice_url":null,"id":"","invoice_pdf":null,
"issuer":{"type":"self"},"last_finalization_error":null,"latest_revision":null,"lines":{"data":[
{"amount":1900,"currency":"usd","description":"1 x Pro (at $19.00 / month)","discount_amounts":[
],"discountable":true,"discounts":[],"id":"","invoice":"","livemode":false,"metadata":{},
"object":"line_item","period":{"start":0,"end":0},"quantity":1,"subscription":null,
"pretax_credit_amounts":null,"taxes":null,"parent":{"invoice_item_details":null,
"subscription_item_details":{"invoice_item":null,"proration":false,"proration_details":{
"credited_items":null},"subscription":"","subscription_item":""},"type":
"subscription_item_details"},"pricing":{"price_details":{"price":
"price_1TstPro00000000000000000","product":"prod_TstPro0000000000"},"type":"price_details",
"unit_amount_decimal":"1900"},"subtotal":1900,"quantity_decimal":null}],"has_more":false,
"object":"list","url":""},"livemode":false,"metadata":{},"next_payment_attempt":null,
"number":"","object":"invoice","on_behalf_of":null,"payment_settings":{"default_mandate":null,
"payment_method_options":null,"payment_method_types":null},"period_end":0,"period_start":0,
"post_payment_credit_notes_amount":0,"pre_payment_credit_notes_amount":0,"receipt_number":null,
"rendering":null,"shipping_cost":null,"shipping_details":null,"starting_balance":0,
"statement_descriptor":null,"status":"paid","status_transitions":{"finalized_at":0,
"marked_uncollectible_at":null,"paid_at":0,"voided_at":null},"subtotal":1900,
"subtotal_excluding_tax":1900,"test_clock":null,"total":1900,"total_discount_amounts":[],
"total_excluding_tax":1900,"webhooks_delivered_at":null,"automatically_finalizes_at":null,
"total_pretax_credit_amounts":[],"total_taxes":[],"parent":{"quote_details":null,
"subscription_details":{"metadata":{},"subscription":""},"type":"subscription_details"},
"customer_account":null,"amount_overpaid":0})json";

constexpr std::string_view session_text = R"json(
{"after_expiration":null,"allow_promotion_codes":null,"amount_subtotal":1900,"amount_total":1900
,"automatic_tax":{"enabled":false,"liability":null,"provider":null,"status":null},
"billing_address_collection":"auto","cancel_url":"https://app.example.com/pricing",
"client_reference_id":null,"client_secret":null,"consent":null,"consent_collection":null,
"created":0,"currency":"usd","custom_fields":[],"custom_text":{"after_submit":null,
"shipping_address":null,"submit":null,"terms_of_service_acceptance":null},"customer":null,
"customer_creation":"always","customer_details":{"address":null,"business_name":null,
"email":null,"individual_name":null,"name":null,"phone":null,"tax_exempt":"none",
"tax_ids":[]},"customer_email":null,"expires_at":0,"id":"","invoice":null,"invoice_creation":
null,"livemode":false,"locale":"auto","metadata":{},"mode":"subscription","object":
"checkout.session","payment_intent":null,"payment_link":null,"payment_method_collection":
"always","payment_method_configuration_details":null,"payment_method_options":{},
"payment_method_types":["card"],"payment_status":"paid","phone_number_collection":{"enabled":
false},"recovered_from":null,"saved_payment_method_options":{"allow_redisplay_filters":["always"
],"payment_method_remove":"disabled","payment_method_save":null},"setup_intent":null,
"shipping_address_collection":null,"shipping_cost":null,"shipping_options":[],"status":
"complete","submit_type":null,"subscription":null,"success_url":
"https://app.example.com/welcome?session_id={CHECKOUT_SESSION_ID}","total_details":{
"amount_discount":0,"amount_shipping":0,"amount_tax":0},"ui_mode":"hosted_page","url":null,
"adaptive_pricing":{"enabled":true},"discounts":[],"collected_information":{"business_name":null
,"individual_name":null,"shipping_details":null},"permissions":null,"wallet_options":{},
"origin_context":null,"currency_conversion":null,"customer_account":null,
"integration_identifier":null,"managed_payments":{"enabled":false},
"allowed_payment_method_types":null})json";

constexpr std::string_view product_text = R"json(
{"id":"","object":"product","active":true,"created":0,"default_price":null,"description":null,
"images":[],"livemode":false,"marketing_features":[],"metadata":{},"name":"",
"package_dimensions":null,"shippable":null,"statement_descriptor":null,"tax_code":null,
"type":"service","unit_label":null,"updated":0,"url":null})json";

constexpr std::string_view price_text = R"json(
{"active":true,"billing_scheme":"per_unit","created":0,"currency":"usd","custom_unit_amount":
null,"id":"","livemode":false,"lookup_key":null,"metadata":{},"nickname":null,"object":"price",
"product":"","recurring":{"interval":"month","interval_count":1,"meter":null,"usage_type":
"licensed","trial_period_days":null},"tax_behavior":"unspecified","tiers_mode":null,
"transform_quantity":null,"type":"recurring","unit_amount":1900,"unit_amount_decimal":"1900"})json";

}  // namespace

const Json& customer_shape() {
    static const Json shape = Json::parse(customer_text);
    return shape;
}

const Json& subscription_shape() {
    static const Json shape = Json::parse(subscription_text);
    return shape;
}

const Json& invoice_shape() {
    static const Json shape = Json::parse(invoice_text);
    return shape;
}

const Json& session_shape() {
    static const Json shape = Json::parse(session_text);
    return shape;
}

const Json& product_shape() {
    static const Json shape = Json::parse(product_text);
    return shape;
}

const Json& price_shape() {
    static const Json shape = Json::parse(price_text);
    return shape;
}

}  // namespace steplog::sandbox
