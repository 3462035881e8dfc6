#include "tools/common/named.h"

#include <algorithm>

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

}  // namespace steplog::tools
