// Clerk's Backend API, as far as provisioning needs it (API version 2026-05-12). Clerk has no
// idempotency keys for users: what makes creating repeatable is that external_id and e-mail
// addresses are unique in an instance. Any thread. Errors: see ProviderApi::call.
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "steps/provider.h"

namespace steplog::steps {

struct ClerkOptions {
    std::string base = "https://api.clerk.com";
    std::string secret_key;
};

/// A user as Clerk tells of it; only what provisioning asks about.
struct ClerkUser {
    struct Email {
        std::string address;
        bool verified = false;
    };
    std::string id;
    std::string external_id;  // "" when it is empty
    std::vector<Email> emails;
    std::vector<std::string> stripe_customer_ids;  // private_metadata.stripe_customer_ids
    std::string steplog_instance;  // private_metadata.steplog_instance: who created it

    /// Whether this address belongs to the user and has been verified. Compared without case.
    bool has_verified(const std::string& address) const;
};

struct NewClerkUser {
    std::string email;
    std::string first_name, last_name;  // "" is left out
    std::string external_id;            // "" is left out
    Json private_metadata = Json::object();
};

class ClerkClient {
  public:
    /// The transport and the clock must outlive the client.
    ClerkClient(HttpTransport& transport, const Clock& clock, const ClerkOptions& options);

    /// Nothing when there is no such user, or when the id is not one of Clerk's.
    std::optional<ClerkUser> find_by_id(const std::string& id, const Call& call) const;

    /// Exactly this external_id. Clerk reads a leading '+' or '-' as "include" or "exclude" (GET
    /// /users, parameter external_id), so only ids without them are asked for; others throw
    /// PermanentError.
    std::optional<ClerkUser> find_by_external_id(const std::string& external_id,
                                                 const Call& call) const;

    /// The user that has this address, compared without case: who has verified it before somebody
    /// who only claims it.
    std::optional<ClerkUser> find_by_email(const std::string& email, const Call& call) const;

    /// The users that have any of these ids, external ids or addresses; a few requests for many.
    /// What is not one of a provider's ids, and empty addresses, are not asked for.
    std::vector<ClerkUser> find_all_by_id(const std::vector<std::string>& ids,
                                          const Call& call) const;
    std::vector<ClerkUser> find_all_by_external_id(const std::vector<std::string>& external_ids,
                                                   const Call& call) const;
    std::vector<ClerkUser> find_all_by_email(const std::vector<std::string>& emails,
                                             const Call& call) const;

    /// Creates a user without a password, its address verified. Throws Refusal 422
    /// "form_identifier_exists" when the address or the external_id is taken.
    ClerkUser create_user(const NewClerkUser& user, const Call& call) const;

    /// False when another user has this external_id already.
    bool set_external_id(const std::string& user_id, const std::string& external_id,
                         const Call& call) const;

    /// Adds to private_metadata.stripe_customer_ids and leaves what is there. Clerk replaces arrays
    /// whole when it merges metadata, so within this process one addition runs at a time.
    void add_stripe_customer_id(const std::string& user_id, const std::string& customer,
                                const Call& call) const;

  private:
    std::vector<ClerkUser> find_all(const std::string& parameter,
                                    const std::vector<std::string>& values,
                                    const std::string& doing, const Call& call) const;
    std::vector<ClerkUser> list_users(const std::string& query, const std::string& doing,
                                      const Call& call) const;
    ClerkUser read_user(const Json& user, const ProviderRequest& request) const;

    ProviderApi api_;
    std::unique_ptr<std::timed_mutex> adding_;  // held across the read and the write of an addition
};

}  // namespace steplog::steps
