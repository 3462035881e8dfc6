// The only door by which text from outside becomes JSON: a provider's event, a provider's answer, a
// request to the admin API. A guard reads the text event by event and refuses what would cost too
// much or would mean two things, before any document is built. Pure functions; any thread.
#pragma once

#include <cstddef>

#include "engine/types.h"

namespace steplog {

inline constexpr std::size_t json_depth_max = 64;          // arrays and objects within each other
inline constexpr std::size_t json_nodes_max = 100'000;     // values of any kind in one document
inline constexpr std::size_t json_number_length_max = 64;  // characters of one number

/// Parses one whole JSON text. Refused are: what is not JSON by RFC 8259 (comments, NaN, a byte
/// order mark, anything behind the document, invalid UTF-8, lone surrogates), NUL characters
/// (escaped or not), a key twice in one object, numbers that no double holds, and what passes the
/// limits above. Nothing then, and `why_not` is a short fixed sentence without a byte of the text.
/// Never throws because of its input. Cost: linear in the text (sorting keys apart), about twice
/// that of parsing it.
std::optional<Json> parse_guarded(std::string_view text, std::string& why_not);

}  // namespace steplog
