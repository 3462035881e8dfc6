// The CHECK constraints of a table, read from the text that made it: SQLite lists a table's columns
// and indexes, but not these. Used by inspect_check. Pure; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace steplog {

/// The conditions of the CHECK constraints in `create_table`, a statement that SQLite accepted,
/// each with its parentheses, without comments, and with one blank for each run of blanks outside
/// of literals. In the order of the text.
std::vector<std::string> check_constraints(std::string_view create_table);

}  // namespace steplog
