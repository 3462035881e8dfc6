// The admin API's view of instances: what workflow-inspect list and show print as JSON, the list by
// pages, and the verbs of an operator. Used by the admin API; any thread.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/inspect.h"
#include "engine/inspect_dashboard.h"
#include "server/http_answer.h"
#include "server/log.h"

namespace steplog::server {

/// Who acts through this API, in the audit: with a key, or signed in to the dashboard.
inline constexpr char admin_actor[] = "admin-api";
inline constexpr char dashboard_actor[] = "dashboard";

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

    /// {"instances","next","cut"}: a page of the list; `next` is what the next one comes before.
    Answer browse(const BrowseFilter& filter) const;

    /// The whole id of what `id` means.
    std::string find(const std::string& id) const;

    /// Of a whole id. 200 {"resumed","ids","skipped"}, or 409 with why it cannot be now.
    Answer resume(const std::string& id, const std::string& actor = admin_actor) const;

    /// The same for the next attempt of what sleeps between attempts, whose count goes on. 200
    /// {"retried","ids","skipped"}.
    Answer retry_now(const std::string& id, const std::string& actor) const;

    /// Of a whole id. 200 {"cancelled","ids","requested","skipped"}: what runs is only asked to
    /// end, and ends before its next step. 409 when it has ended.
    Answer cancel(const std::string& id, const std::string& reason,
                  const std::string& actor = admin_actor) const;

  private:
    Answer go_on(const char* counted, ResumeRequest request) const;
    Inspector inspector() const { return {file_.database, clock_, {}, file_.keys}; }

    Engine& engine_;
    const InspectedFile file_;
    const Clock& clock_;
    Log& log_;
};

}  // namespace steplog::server
