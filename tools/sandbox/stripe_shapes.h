// Empty Stripe objects of API 2026-10-28.endive, to be copied and filled in. Read-only, any thread.
// Used by the Stripe stand-in and by the maker of purchases.
// A subscription is active, an invoice paid and a session complete until someone says otherwise.
#pragma once

#include "engine/types.h"

namespace steplog::sandbox {

const Json& customer_shape();
const Json& subscription_shape();
const Json& invoice_shape();
const Json& session_shape();
const Json& product_shape();
const Json& price_shape();

}  // namespace steplog::sandbox
