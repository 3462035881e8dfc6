// A past of millions of finished instances, loaded in bulk into a database that is there: what
// scale measures beside. One thread, and nobody else has the file.
#pragma once

#include <filesystem>

namespace steplog::bench {

/// Finished instances are spread evenly over so many days before now, the latest ones first.
constexpr int past_days = 80;

/// Adds so many finished instances of one step, their payloads purged, with the events of the last
/// 40 days; and 100 stuck and 1,000 sleeping ones. Their logs are copies: they do not verify.
/// Throws std::runtime_error when SQLite refuses.
void load_past(const std::filesystem::path& database, int instances);

/// Makes the database first.
void make_past(const std::filesystem::path& database, int instances);

/// How the past's n-th instance, and its customer, are called.
std::string past_id(int n);
std::string past_customer(int n);

}  // namespace steplog::bench
