// A workflow is a definition: a name, a version and a function. The registry holds those that this
// program knows.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "engine/context.h"

namespace steplog {

/// What happens to an instance when a StepFailed (or PermanentError) leaves its function.
enum class OnFailure { fail, stuck };

struct Workflow {
    std::string name;
    int version = 1;
    OnFailure on_failure = OnFailure::fail;
    OnStuck on_stuck = OnStuck::keep_key;
    /// Input and output are JSON. Must be deterministic but for what its steps do.
    std::function<Json(Context&, const Json& input)> run;
};

class Registry {
  public:
    /// Throws std::logic_error when name and version are taken.
    void add(Workflow workflow);
    /// Null when this program does not know it.
    const Workflow* find(const std::string& name, int version) const;
    bool knows(const std::string& name) const;

  private:
    std::map<std::pair<std::string, int>, Workflow> workflows_;
};

}  // namespace steplog
