// The workflows that the server has, and the providers that they reach: made alike by the server
// that runs them and by the check before a deploy. Main thread.
#pragma once

#include <memory>

#include "engine/clock.h"
#include "engine/workflow.h"
#include "server/settings.h"
#include "steps/email.h"
#include "steps/http_client.h"
#include "steps/missed_events.h"
#include "steps/reconcile_accounts.h"
#include "steps/tell_people.h"

namespace steplog::server {

/// How to reach the providers, and with which keys. The clock outlives it.
struct Outside {
    Outside(const Settings& settings, const Clock& clock);
    steps::HttpClient http;
    std::unique_ptr<steps::EmailSender> email;  // null: none is sent
    steps::Providers providers;
    steps::AlertChannels alerts;  // none: nobody is told

  private:
    void add_alert_channels(const Settings& settings, const Clock& clock);
};

/// What workflows reach of the engine that runs them.
struct Inside {
    steps::InstanceDesk& desk;
    steps::Inbox& inbox;
};

/// What is outside, what is inside and the clock outlive what runs them.
void register_workflows(Registry& registry, Outside& outside, const Inside& inside,
                        const Clock& clock);

}  // namespace steplog::server
