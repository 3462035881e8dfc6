// What hides people and secrets in everything that is shown, and makes text safe for a terminal and
// for one line. Used by whatever prints what is stored. Pure functions; any thread.
#pragma once

#include <string>
#include <string_view>

#include "engine/types.h"

namespace steplog {

/// The text with every e-mail address as "j***@example.com" (also where the @ is written %40).
std::string redact_text(std::string_view text);

/// The value with redact_text over every string and key. With `personal` (inputs, results,
/// requests: a provider's objects) also names, phone numbers, addresses and secrets, known by their
/// keys, become "***".
Json redact(const Json& value, bool personal);

/// One line of printable text: control characters as \xNN, invalid UTF-8 as U+FFFD, at most
/// `bytes_max` bytes.
std::string printable(std::string_view text, std::size_t bytes_max = 2048);

}  // namespace steplog
