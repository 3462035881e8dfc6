// What an order to many would mean: for each instance the step at which it stands, and the calls to
// providers that follow. Used by workflow-resume and workflow-admin --plan; reads only.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/inspect.h"

namespace steplog::tools {

/// What is done to the instances, in words.
struct Deed {
    std::string verb;  // "resume"
    std::string done;  // "resumed"
};

/// Which calls an order brings about.
enum class Brings {
    nothing,      // none
    going_on,     // the step at which it stands, and those that follow
    taking_back,  // of each finished step that says how
};

/// One call that an instance is expected to make.
struct PlannedCall {
    std::string step, provider;
    bool certain = false;  // it is made first; later ones are for its workflow to decide
};

struct Plan {
    struct Entry {
        InstanceRow row;
        Brings brings = Brings::going_on;
        std::vector<PlannedCall> calls;
    };
    Deed deed;
    std::vector<Entry> entries;
    std::vector<Resumed::Skipped> skipped;
    std::map<std::string, std::int64_t> calls_by_provider;  // at most so many, without retries

    void add(Inspector& inspector, const InstanceRow& row, Brings brings);
};

Json json_of(const Plan& plan);
std::string render(const Plan& plan);

}  // namespace steplog::tools
