// The admin API's view of instances: what workflow-inspect list and show print as JSON, and the two
// verbs of an operator. Used by the admin API; any thread.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/inspect.h"
#include "server/http_answer.h"
#include "server/log.h"

namespace steplog::server {

/// Who acts through this API, in the audit.
inline constexpr char admin_actor[] = "admin-api";

inline constexpr int admin_list_max = 500;
inline constexpr int admin_list_default = 50;

/// What an Inspector is opened with, one for each request.
struct InspectedFile {
    std::filesystem::path database;
    std::vector<MasterKey> keys = {};  // that encrypted payloads are read with
};

class AdminInstances {
  public:
    /// What it refers to must outlive it.
    AdminInstances(Engine& engine, InspectedFile file, const Clock& clock, Log& log)
        : engine_(engine), file_(std::move(file)), clock_(clock), log_(log) {}

    // `id` may be shortened, as on the command line. Throws InspectError (not_found, ambiguous) and
    // StoreError.

    /// Newest first, at most admin_list_max.
    Answer list(const InstanceFilter& filter) const;
    Answer show(const std::string& id) const;

    /// The whole id of what `id` means.
    std::string find(const std::string& id) const;

    /// Of a whole id. 200 {"resumed","ids","skipped"}, or 409 with why it cannot be now.
    Answer resume(const std::string& id) const;

    /// Of a whole id. 200 {"cancelled","ids","requested","skipped"}: what runs is only asked to
    /// end, and ends before its next step. 409 when it has ended.
    Answer cancel(const std::string& id, const std::string& reason) const;

  private:
    Inspector inspector() const { return {file_.database, clock_, {}, file_.keys}; }

    Engine& engine_;
    const InspectedFile file_;
    const Clock& clock_;
    Log& log_;
};

}  // namespace steplog::server
