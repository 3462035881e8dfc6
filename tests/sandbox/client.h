// A sandbox and short words for asking it things, shared by the tests of this room. One thread.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "tools/sandbox/sandbox.h"

namespace steplog::sandbox {

class ManualClock : public Clock {
  public:
    std::int64_t now_ms() const override { return now_; }
    void advance(Ms by) { now_ += by.count(); }

  private:
    std::int64_t now_ = 1'793'520'000'000;
};

struct Answered {
    int status = 0;
    Json body;
    steps::Headers headers;
    std::string header(std::string_view name) const { return header_of(headers, name); }
};

/// Asks as the three providers' clients would; `headers` are added or take the place of the usual.
class Client {
  public:
    explicit Client(std::uint64_t seed = 1) : sandbox({.seed = seed, .clock = &clock}) {}

    Answered stripe(const std::string& method, const std::string& target,
                    const std::string& form = "", const steps::Headers& headers = {}) {
        return ask(method, target, form, headers, "Bearer sk_test_x");
    }
    Answered clerk(const std::string& method, const std::string& target, const Json& body = nullptr,
                   const steps::Headers& headers = {}) {
        return ask(method, target, body.is_null() ? "" : to_text(body), headers,
                   "Bearer sk_test_y");
    }
    Answered resend(const std::string& method, const std::string& target,
                    const Json& body = nullptr, const steps::Headers& headers = {}) {
        return ask(method, target, body.is_null() ? "" : to_text(body), headers, "Bearer re_x");
    }

    ManualClock clock;
    Sandbox sandbox;

  private:
    Answered ask(const std::string& method, const std::string& target, const std::string& body,
                 const steps::Headers& headers, const std::string& authorization) {
        SandboxRequest request{
            .method = method, .target = target, .headers = headers, .body = body};
        if (header_of(headers, "Authorization").empty()) {
            request.headers.emplace_back("Authorization", authorization);
        }
        const steps::HttpReply reply = sandbox.handle(request);
        return {.status = reply.status,
                .body = Json::parse(reply.body, nullptr, false),
                .headers = reply.headers};
    }
};

inline Json new_user(const std::string& email, const std::string& external_id = "") {
    Json user = {{"email_address", {email}}, {"skip_password_requirement", true}};
    if (!external_id.empty()) user["external_id"] = external_id;
    return user;
}

inline Json read_json(const std::string& path) {
    std::ifstream in(std::string(STEPLOG_SOURCE_DIR) + "/" + path);
    std::stringstream text;
    text << in.rdbuf();
    return Json::parse(text.str());
}

}  // namespace steplog::sandbox
