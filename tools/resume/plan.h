// What a resume would mean: for each instance the step at which it stands, and the calls to
// providers that follow. Used by workflow-resume --plan; reads only.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/inspect.h"

namespace steplog::tools {

/// One call that a resumed instance is expected to make.
struct PlannedCall {
    std::string step, provider;
    bool certain = false;  // it stands there; later ones are for its workflow to decide
};

struct Plan {
    struct Entry {
        InstanceRow row;
        std::vector<PlannedCall> calls;
    };
    std::vector<Entry> entries;
    std::vector<Resumed::Skipped> skipped;
    std::map<std::string, std::int64_t> calls_by_provider;  // at most so many, without retries
};

Plan make_plan(Inspector& inspector, const Resumable& resumable);
Json json_of(const Plan& plan);
std::string render(const Plan& plan);

}  // namespace steplog::tools
