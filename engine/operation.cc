// The kinds of operations, as they are spelled.
#include <array>

#include "engine/store.h"

namespace steplog {
namespace {

constexpr std::array kind_names = {"pause", "unpause", "pause-workflow", "unpause-workflow",
                                   "edit",  "fork"};

}  // namespace

std::string_view to_string(OperateRequest::Kind kind) {
    return kind_names.at(static_cast<std::size_t>(kind));
}

std::optional<OperateRequest::Kind> parse_operation_kind(std::string_view word) {
    for (std::size_t i = 0; i < kind_names.size(); ++i)
        if (word == kind_names[i]) return static_cast<OperateRequest::Kind>(i);
    return std::nullopt;
}

}  // namespace steplog
