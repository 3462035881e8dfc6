// From what a person types to whole ids. Used by the programs that change named instances; reads
// only, one thread.
#pragma once

#include <string>
#include <vector>

#include "engine/inspect.h"
#include "engine/types.h"

namespace steplog::tools {

/// Whom a person named: whole ids, each once, and what was not found or not clear.
struct Named {
    std::vector<std::string> ids;
    std::vector<Resumed::Skipped> unknown;
};

/// Looks up any clear beginning or ending of an id; complains as `program` about the others.
Named resolve(Inspector& inspector, const std::vector<std::string>& texts,
              const std::string& program);

/// As every `--json` shows them: redacted ids, and {id, reason} of what was skipped.
Json json_of_ids(const std::vector<std::string>& ids);
Json json_of_skipped(const std::vector<Resumed::Skipped>& skipped);

}  // namespace steplog::tools
