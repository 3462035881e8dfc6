// The stand-in for Clerk's Backend API (clerk/openapi-specs bapi/2026-05-12): users, invitations
// and sign-in tokens. E-mail addresses and external ids are unique; there is no idempotency key.
// Used by the Sandbox, whose mutex guards it. Copying it is cheap.
#pragma once

#include <memory>
#include <unordered_map>

#include "tools/sandbox/request.h"
#include "tools/sandbox/stripe.h"

namespace steplog::sandbox {

/// A user that was there before anybody paid.
struct ExistingUser {
    std::string email;
    bool verified = true;
    std::string external_id;  // "" for none
    std::string first_name;
    std::string last_name;
    Json private_metadata = Json::object();
};

/// {"errors":[{code,message,long_message,meta}],"clerk_trace_id":…}
steps::HttpReply clerk_error(int status, const std::string& code, const std::string& message,
                             const std::string& param_name, const std::string& trace_id);

class Clerk {
  public:
    using User = std::shared_ptr<const Json>;

    /// Accepts only this key; "" accepts whatever begins with sk_.
    explicit Clerk(std::string secret_key = "") : secret_key_(std::move(secret_key)) {}

    Handled handle(const Call& call, IdSource& ids);

    /// Returns the user's id. Throws std::invalid_argument when e-mail or external id is taken.
    std::string add_user(const ExistingUser& user, std::int64_t now_ms, IdSource& ids);
    /// As if the user clicked the link in Clerk's mail. False when nobody has the address.
    bool verify_email(const std::string& email, std::int64_t now_ms);

    /// In the order of their creation; deleted ones are gone.
    std::vector<User> users() const;
    const std::vector<Json>& invitations() const { return invitations_; }
    const std::vector<Json>& sign_in_tokens() const { return sign_in_tokens_; }

  private:
    Json route(const Call& call, const Json& body, IdSource& ids);
    Json create_user(const Json& body, std::int64_t now_ms, IdSource& ids);
    Json update_user(const std::string& id, const Json& body, std::int64_t now_ms);
    Json update_metadata(const std::string& id, const Json& body, bool replace,
                         std::int64_t now_ms);
    Json delete_user(const std::string& id);
    Json create_invitation(const Json& body, std::int64_t now_ms, IdSource& ids);
    Json create_sign_in_token(const Json& body, std::int64_t now_ms, IdSource& ids);
    std::vector<User> select(const Params& query) const;
    User find(const std::string& id) const;
    void refuse_taken_external_id(const std::string& external_id, const std::string& but) const;
    void put(Json user);

    std::string secret_key_;
    std::vector<std::string> order_;  // ids
    std::unordered_map<std::string, User> by_id_;
    std::unordered_map<std::string, std::string> id_by_email_;  // in lower case
    std::unordered_map<std::string, std::string> id_by_external_id_;
    std::vector<Json> invitations_;
    std::vector<Json> sign_in_tokens_;
};

}  // namespace steplog::sandbox
