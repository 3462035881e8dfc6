#include "engine/limits.h"

#include <fmt/format.h>

namespace steplog {

std::string beyond_limit(const std::string& what, std::int64_t value, const char* unit,
                         std::int64_t limit, const char* name, const char* remedy) {
    return fmt::format("{} has {} {}, and {} are the limit ({}): {}", what, value, unit, limit,
                       name, remedy);
}

std::string near_limit(const std::string& what, std::int64_t value, const char* unit,
                       std::int64_t limit, const char* name, const char* remedy) {
    return fmt::format("{} has {} {}, of at most {} ({}): {}", what, value, unit, limit, name,
                       remedy);
}

}  // namespace steplog
