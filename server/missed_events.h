// The inbox as the comparison with Stripe's list reaches it: reads from the database beside the
// engine, writes through the engine. Worker threads.
#pragma once

#include <filesystem>
#include <functional>

#include "engine/engine.h"
#include "steps/missed_events.h"

namespace steplog::server {

class EngineInbox final : public steps::Inbox {
  public:
    /// `told` is called on worker threads.
    EngineInbox(std::filesystem::path database, const Clock& clock,
                std::function<void(const Found&)> told = {})
        : database_(std::move(database)), clock_(clock), told_(std::move(told)) {}
    /// Before anything runs.
    void attach(Engine& engine) { engine_ = &engine; }

    std::optional<std::int64_t> compare_from_ms(const std::string& asking) override;
    bool has(const std::string& type, const std::string& subject) override;
    bool take(steps::Intake intake) override;
    void tell(const Found& found) override;

  private:
    const std::filesystem::path database_;
    const Clock& clock_;
    const std::function<void(const Found&)> told_;
    Engine* engine_ = nullptr;
};

}  // namespace steplog::server
