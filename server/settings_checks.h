// What a single setting's value must look like. Used by the reading of settings. Addresses are
// checked where they are used: steps/address.h, server/front_address.h. Pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace steplog::server {

/// Parts between commas, blanks around them removed. An empty text has no parts.
std::vector<std::string> split_list(std::string_view text);

/// "a@b", or "Name <a@b>", on one line.
bool is_mailbox(std::string_view text);

/// No blank, no control character, nothing beyond ASCII: what a key or secret consists of.
bool is_plain_ascii(std::string_view text);

/// What may be shown of a key: its last four characters, of a short one only that it is set.
std::string last_four(const std::string& key);

/// The candidate most like `name`, when one is at most three edits away.
std::optional<std::string_view> nearest(std::string_view name,
                                        const std::vector<std::string_view>& candidates);

}  // namespace steplog::server
