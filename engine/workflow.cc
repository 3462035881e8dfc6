#include "engine/workflow.h"

#include <stdexcept>

namespace steplog {

void Registry::add(Workflow workflow) {
    const auto key = std::pair(workflow.name, workflow.version);
    if (!workflows_.emplace(key, std::move(workflow)).second)
        throw std::logic_error("workflow " + key.first + " version " + std::to_string(key.second) +
                               " is registered twice");
}

const Workflow* Registry::find(const std::string& name, int version) const {
    const auto found = workflows_.find({name, version});
    return found == workflows_.end() ? nullptr : &found->second;
}

bool Registry::knows(const std::string& name) const {
    const auto first = workflows_.lower_bound({name, 0});
    return first != workflows_.end() && first->first.first == name;
}

}  // namespace steplog
