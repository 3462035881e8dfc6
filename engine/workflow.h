// A workflow is a definition: a name, a version and a function. The registry holds those that this
// program knows: of each workflow as many versions as have unfinished instances somewhere.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "engine/context.h"

namespace steplog {

/// What happens to an instance when a StepFailed (or PermanentError) leaves its function.
enum class OnFailure { fail, stuck };

/// A definition. One whose function changes in a way that instances under way cannot replay gets
/// another version.
struct Workflow {
    std::string name;
    int version = 1;
    OnFailure on_failure = OnFailure::fail;
    OnStuck on_stuck = OnStuck::keep_key;
    /// Input and output are JSON. Must be deterministic but for what its steps do.
    std::function<Json(Context&, const Json& input)> run;
};

/// The definitions that a program knows, by name and version. Filled before the engine is made.
class Registry {
  public:
    /// Several versions of a workflow stand side by side: what was started under one goes on under
    /// it, and what is started anew gets the highest. Throws std::logic_error when name and version
    /// are taken, or the version is not 1 or more.
    void add(Workflow workflow);
    /// Null when this program does not know it.
    const Workflow* find(const std::string& name, int version) const;
    /// Ascending; none when this program does not know the workflow.
    std::vector<int> versions(const std::string& name) const;
    /// What `version` means for this workflow: itself, or for newest_version the highest, and 1
    /// where this program does not know the workflow.
    int version_for(const std::string& name, int version) const;
    /// Why an instance of it cannot be started here, in a sentence; "" when it can.
    std::string why_not(const std::string& name, int version) const;
    /// The workflows that have this version.
    std::vector<std::string> with_version(int version) const;

  private:
    std::map<std::pair<std::string, int>, Workflow> workflows_;
};

}  // namespace steplog
