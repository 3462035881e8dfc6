// Reading documents that others wrote, without trust. Any thread.
#include "steps/json_reading.h"

#include "steps/encoding.h"

namespace steplog::steps {

const Json& value_at(const Json& document, std::initializer_list<std::string_view> path) {
    static const Json nothing;
    const Json* here = &document;
    for (const std::string_view key : path) {
        if (!here->is_object()) return nothing;
        const auto found = here->find(key);
        if (found == here->end()) return nothing;
        here = &*found;
    }
    return *here;
}

std::string text_at(const Json& document, std::initializer_list<std::string_view> path) {
    const Json& value = value_at(document, path);
    return value.is_string() ? value.get<std::string>() : std::string();
}

std::optional<bool> flag_at(const Json& document, std::initializer_list<std::string_view> path) {
    const Json& value = value_at(document, path);
    if (!value.is_boolean()) return std::nullopt;
    return value.get<bool>();
}

std::string reference_at(const Json& document, std::initializer_list<std::string_view> path) {
    const Json& value = value_at(document, path);
    return value.is_object() ? text_at(value, {"id"}) : text_at(value, {});
}

bool is_reference_or_absent(const Json& document, std::initializer_list<std::string_view> path) {
    return value_at(document, path).is_null() || is_provider_id(reference_at(document, path));
}

std::string dump_json(const Json& document) {
    return document.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace steplog::steps
