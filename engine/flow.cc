#include "engine/flow.h"

#include <array>

namespace steplog {
namespace {

constexpr std::array scopes = {LimitOf::workflow, LimitOf::provider, LimitOf::entity};
constexpr std::array kinds = {Limit::Kind::slot, Limit::Kind::rate};

std::string prefix_of(Limit::Kind kind, LimitOf scope) {
    std::string words = kind == Limit::Kind::slot ? "slot " : "rate ";
    return words.append(to_string(scope)).append(" ");
}

}  // namespace

std::string_view to_string(LimitOf scope) {
    switch (scope) {
        case LimitOf::workflow:
            return "workflow";
        case LimitOf::provider:
            return "provider";
        case LimitOf::entity:
            return "entity";
    }
    return "";
}

std::string Limit::detail() const { return prefix_of(kind, scope) + name; }

std::optional<Limit> parse_limit(std::string_view waits_detail) {
    for (const Limit::Kind kind : kinds)
        for (const LimitOf scope : scopes)
            if (const std::string prefix = prefix_of(kind, scope); waits_detail.starts_with(prefix))
                return Limit{kind, scope, std::string(waits_detail.substr(prefix.size()))};
    return std::nullopt;
}

}  // namespace steplog
