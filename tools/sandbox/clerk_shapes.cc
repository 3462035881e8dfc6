// Clerk's user and e-mail address, with every field that bapi/2026-05-12 requires. Pure functions.
#include "tools/sandbox/clerk_shapes.h"

namespace steplog::sandbox {

Json clerk_email(const std::string& email, bool verified, bool reserved, std::int64_t now_ms,
                 IdSource& ids) {
    Json verification;
    if (verified) {
        verification = {{"object", "verification_admin"},
                        {"status", "verified"},
                        {"strategy", "admin"},
                        {"attempts", nullptr},
                        {"expire_at", nullptr}};
    } else if (!reserved) {
        verification = {{"object", "verification_otp"},
                        {"status", "unverified"},
                        {"strategy", "email_code"},
                        {"attempts", 0},
                        {"expire_at", now_ms + 600'000}};
    }
    return {{"id", ids.make("idn_", 27)},
            {"object", "email_address"},
            {"email_address", email},
            {"reserved", reserved},
            {"verification", std::move(verification)},
            {"linked_to", Json::array()},
            {"matches_sso_connection", false},
            {"created_at", now_ms},
            {"updated_at", now_ms}};
}

Json clerk_user(const std::string& id, std::int64_t now_ms) {
    return {{"id", id},
            {"object", "user"},
            {"external_id", nullptr},
            {"primary_email_address_id", nullptr},
            {"primary_phone_number_id", nullptr},
            {"primary_web3_wallet_id", nullptr},
            {"username", nullptr},
            {"first_name", nullptr},
            {"last_name", nullptr},
            {"locale", nullptr},
            {"image_url", "https://img.clerk.com/sandbox"},
            {"has_image", false},
            {"public_metadata", Json::object()},
            {"private_metadata", Json::object()},
            {"unsafe_metadata", Json::object()},
            {"email_addresses", Json::array()},
            {"phone_numbers", Json::array()},
            {"web3_wallets", Json::array()},
            {"passkeys", Json::array()},
            {"password_enabled", false},
            {"two_factor_enabled", false},
            {"totp_enabled", false},
            {"backup_code_enabled", false},
            {"mfa_enabled_at", nullptr},
            {"mfa_disabled_at", nullptr},
            {"external_accounts", Json::array()},
            {"saml_accounts", Json::array()},
            {"enterprise_accounts", Json::array()},
            {"last_sign_in_at", nullptr},
            {"banned", false},
            {"locked", false},
            {"lockout_expires_in_seconds", nullptr},
            {"verification_attempts_remaining", 100},
            {"updated_at", now_ms},
            {"created_at", now_ms},
            {"delete_self_enabled", true},
            {"create_organization_enabled", true},
            {"last_active_at", nullptr},
            {"legal_accepted_at", nullptr}};
}

}  // namespace steplog::sandbox
