#include "tools/common/named.h"

#include <algorithm>

#include "engine/inspect_redact.h"
#include "tools/common/cli.h"

namespace steplog::tools {

Named resolve(Inspector& inspector, const std::vector<std::string>& texts,
              const std::string& program) {
    Named named;
    for (const std::string& text : texts) {
        try {
            const std::string id = inspector.find(text).id;
            if (std::find(named.ids.begin(), named.ids.end(), id) == named.ids.end())
                named.ids.push_back(id);
        } catch (const InspectError& error) {
            if (error.kind() != InspectError::Kind::not_found &&
                error.kind() != InspectError::Kind::ambiguous)
                throw;
            complain(program, error.what());
            named.unknown.push_back(
                {text, error.kind() == InspectError::Kind::not_found ? "not found" : "ambiguous"});
        }
    }
    return named;
}

Json json_of_ids(const std::vector<std::string>& ids) {
    Json all = Json::array();
    for (const std::string& id : ids) all.push_back(redact_text(id));
    return all;
}

Json json_of_skipped(const std::vector<Resumed::Skipped>& skipped) {
    Json all = Json::array();
    for (const Resumed::Skipped& one : skipped)
        all.push_back({{"id", redact_text(one.id)}, {"reason", one.reason}});
    return all;
}

}  // namespace steplog::tools
