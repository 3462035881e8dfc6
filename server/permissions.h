// Who else could read or replace the database, as far as the file system's modes tell. Used by
// serve at start.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace steplog::server {

/// One sentence for each file that others than its owner may read, and for a directory in which
/// others may put another file in its place; each says what to do.
std::vector<std::string> loose_permissions(const std::filesystem::path& database);

}  // namespace steplog::server
