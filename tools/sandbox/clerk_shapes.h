// Clerk's objects as its OpenAPI file bapi/2026-05-12 requires them, to be filled in by the
// stand-in.
#pragma once

#include "tools/sandbox/request.h"

namespace steplog::sandbox {

/// An address that an administrator vouches for (verified), that is only reserved, or whose owner
/// has not answered Clerk's mail yet (neither).
Json clerk_email(const std::string& email, bool verified, bool reserved, std::int64_t now_ms,
                 IdSource& ids);

/// A user without addresses, names and metadata.
Json clerk_user(const std::string& id, std::int64_t now_ms);

}  // namespace steplog::sandbox
