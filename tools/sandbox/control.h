// The sandbox's own API under /_sandbox/, JSON in and out: faults, state, purchases, users,
// deliveries. Used by the HTTP service and through it by the program's verbs. Any thread.
#pragma once

#include "tools/sandbox/sandbox.h"
#include "tools/sandbox/sender.h"

namespace steplog::sandbox {

class Control {
  public:
    /// `sender` may be null: then events are made and answered, and delivered by nobody.
    Control(Sandbox& sandbox, Sender* sender) : sandbox_(sandbox), sender_(sender) {}

    /// Never throws for what a request says: 400 {"error":…} names the field and what it may be.
    /// POST /_sandbox/wait blocks up to its timeout_ms.
    steps::HttpReply handle(const SandboxRequest& request);

  private:
    Json route(const Call& call, Json body);
    Json told(const Purchase& purchase, const Json& delivery);
    Json send(const Json& body);
    Json state(const Call& call) const;

    Sandbox& sandbox_;
    Sender* sender_;
};

}  // namespace steplog::sandbox
