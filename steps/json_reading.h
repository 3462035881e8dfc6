// Reading documents that others wrote: each getter says what it found or gives an empty value, and
// none throws or aborts on a missing key or an unexpected type. Used by the providers' clients, the
// event and the purchase. Pure functions; any thread.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "engine/types.h"

namespace steplog::steps {

/// The value at the end of a path of keys; null when a key is missing or something on the way is
/// not an object.
const Json& value_at(const Json& document, std::initializer_list<std::string_view> path);

/// The string at the end of a path; "" when there is none.
std::string text_at(const Json& document, std::initializer_list<std::string_view> path);

/// The boolean at the end of a path; nothing when there is none.
std::optional<bool> flag_at(const Json& document, std::initializer_list<std::string_view> path);

/// The id at the end of a path: a string, or an object's own "id" where a provider expanded the
/// reference. "" when there is none.
std::string reference_at(const Json& document, std::initializer_list<std::string_view> path);

/// True when the path leads to nothing, to null, or to an id that is fit for a URL.
bool is_reference_or_absent(const Json& document, std::initializer_list<std::string_view> path);

/// The document as text. Bytes that are not UTF-8 are replaced rather than thrown about.
std::string dump_json(const Json& document);

}  // namespace steplog::steps
