#include "engine/workflow.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <stdexcept>

namespace steplog {

void Registry::add(Workflow workflow) {
    const auto key = std::pair(workflow.name, workflow.version);
    if (key.second < 1)
        throw std::logic_error("workflow " + key.first + ": a version is a number from 1 on");
    if (!workflows_.emplace(key, std::move(workflow)).second)
        throw std::logic_error("workflow " + key.first + " version " + std::to_string(key.second) +
                               " is registered twice");
}

const Workflow* Registry::find(const std::string& name, int version) const {
    const auto found = workflows_.find({name, version});
    return found == workflows_.end() ? nullptr : &found->second;
}

std::vector<int> Registry::versions(const std::string& name) const {
    std::vector<int> all;
    for (auto each = workflows_.lower_bound({name, 0});
         each != workflows_.end() && each->first.first == name; ++each)
        all.push_back(each->first.second);
    return all;
}

int Registry::version_for(const std::string& name, int version) const {
    if (version != newest_version) return version;
    const auto all = versions(name);
    return all.empty() ? 1 : all.back();
}

std::string Registry::why_not(const std::string& name, int version) const {
    const auto all = versions(name);
    if (all.empty()) {
        std::vector<std::string> names;
        for (const auto& [key, workflow] : workflows_)
            if (names.empty() || names.back() != key.first) names.push_back(key.first);
        return fmt::format("the program that runs has no workflow {}; it has {}", name,
                           fmt::join(names, ", "));
    }
    if (version == newest_version || find(name, version)) return "";
    return fmt::format("the program that runs has no version {} of workflow {}; it has {}", version,
                       name, fmt::join(all, ", "));
}

std::vector<std::string> Registry::with_version(int version) const {
    std::vector<std::string> names;
    for (const auto& [key, workflow] : workflows_)
        if (key.second == version) names.push_back(key.first);
    return names;
}

}  // namespace steplog
