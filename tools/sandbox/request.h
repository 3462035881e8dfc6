// What reaches a stand-in and what leaves it, without sockets, and the small helpers every provider
// needs: headers, query strings, Stripe's bracketed forms, JSON replies. Values only, any thread.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "steps/http.h"

namespace steplog::sandbox {

enum class Provider { stripe, clerk, resend };
inline constexpr std::array all_providers = {Provider::stripe, Provider::clerk, Provider::resend};

std::string_view to_string(Provider);
std::optional<Provider> parse_provider(std::string_view);

struct SandboxRequest {
    std::string method;  // GET, POST, PATCH, DELETE
    std::string target;  // path and query, percent-encoded, begins with '/'
    steps::Headers headers;
    std::string body;
};

/// Decoded pairs in the order sent; a key may repeat.
using Params = std::vector<std::pair<std::string, std::string>>;

/// A request taken apart.
struct Call {
    std::string method;
    std::string path;                   // decoded, without the query
    std::vector<std::string> segments;  // "/v1/users/user_1" -> v1, users, user_1
    Params query;
    steps::Headers headers;
    std::string body;
    std::int64_t now_ms = 0;
};

Call take_apart(const SandboxRequest& request, std::int64_t now_ms);

/// Whose path it is where one port serves all three: /v1/users, /v1/invitations, /v1/sign_in_tokens
/// and /v1/email_addresses are Clerk's, /emails is Resend's, the rest is Stripe's.
Provider provider_of_path(std::string_view path);

/// "POST /v1/customers/{id}": the request's route for counting, ids replaced.
std::string route_of(const Call& call);

/// The first value of a header, names compared without case; "" when there is none.
std::string header_of(const steps::Headers& headers, std::string_view name);

std::string percent_decode(std::string_view text);
/// application/x-www-form-urlencoded, also a query string; '+' is a space.
Params parse_form(std::string_view text);

std::optional<std::string> find_param(const Params& params, std::string_view key);
/// All values of `key`, `key[]` and `key[0]`, `key[1]`, ….
std::vector<std::string> find_all(const Params& params, std::string_view key);
/// `metadata[plan]=pro` under prefix "metadata" -> {"plan", "pro"}.
Params find_bracketed(const Params& params, std::string_view prefix);

/// JSON text; bytes that are not UTF-8 are replaced, never thrown over.
std::string to_text(const Json& json);
steps::HttpReply json_reply(int status, const Json& body);
/// Sets a header, replacing one of that name.
void set_header(steps::HttpReply& reply, const std::string& name, const std::string& value);

/// A member that may be absent: typed access that never throws.
std::string string_at(const Json& object, std::string_view key);
const Json* member(const Json& object, std::string_view key);

bool looks_like_email(std::string_view text);
std::string to_lower(std::string_view text);

/// Ids that depend on the seed and on how many were made before, and on nothing else.
class IdSource {
  public:
    explicit IdSource(std::uint64_t seed) : seed_(seed) {}
    /// "cus_" and 14 letters and digits; two calls never give the same.
    std::string make(std::string_view prefix, std::size_t length = 14);
    std::string make_uuid();
    /// Uniform bits from the same seed, for faults that strike by chance.
    std::uint64_t next_random();

  private:
    std::uint64_t seed_;
    std::uint64_t count_ = 0;
    std::uint64_t draws_ = 0;
};

}  // namespace steplog::sandbox
