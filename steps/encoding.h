// How text gets into URLs and form bodies. Used by the providers' clients: everything that comes
// from an event or a provider passes through here before it becomes part of a request. Any thread.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace steplog::steps {

/// In the order in which they are sent; a name may occur more than once.
using FormFields = std::vector<std::pair<std::string, std::string>>;

/// For one path segment or one query value: all but letters, digits and "-._~" becomes %XX
/// (RFC 3986, 2.3), byte by byte.
std::string percent_encode(std::string_view text);

/// application/x-www-form-urlencoded: a space becomes '+', all but letters, digits and "*-._"
/// becomes %XX. Brackets in names stay as they are, `metadata[clerk_user_id]=user_1`, as Stripe's
/// own clients send them (docs.stripe.com/api/metadata). No fields give "".
std::string form_encode(const FormFields& fields);

/// `[A-Za-z0-9_]{1,255}`: what every id of Stripe's and Clerk's looks like, and nothing that could
/// change the meaning of a path. Check every foreign id before it goes into a target.
bool is_provider_id(std::string_view text);

}  // namespace steplog::steps
