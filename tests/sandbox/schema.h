// As much of JSON Schema as the providers' own schemas need: type, nullable, enum, required,
// properties, additionalProperties, items, $ref, anyOf, oneOf.
#pragma once

#include <fmt/format.h>

#include "engine/types.h"

namespace steplog::sandbox {

class Schemas {
  public:
    explicit Schemas(const Json& file) : schemas_(file.at("schemas")) {}

    /// What is wrong with `value`, one line each; empty when it is as the schema says.
    std::vector<std::string> faults(const std::string& name, const Json& value) const {
        std::vector<std::string> found;
        check(schemas_.at(name), value, name, found);
        return found;
    }

  private:
    static bool is_type(const std::string& type, const Json& value) {
        if (type == "object") return value.is_object();
        if (type == "array") return value.is_array();
        if (type == "string") return value.is_string();
        if (type == "boolean") return value.is_boolean();
        if (type == "integer") return value.is_number_integer();
        if (type == "number") return value.is_number();
        return type == "null" && value.is_null();
    }

    bool fits_one(const Json& choices, const Json& value) const {
        for (const Json& choice : choices) {
            std::vector<std::string> found;
            check(choice, value, "", found);
            if (found.empty()) return true;
        }
        return false;
    }

    void check(const Json& schema, const Json& value, const std::string& at,
               std::vector<std::string>& found) const {
        if (schema.contains("$ref")) {
            const std::string ref = schema.at("$ref");
            return check(schemas_.at(ref.substr(ref.rfind('/') + 1)), value, at, found);
        }
        if (value.is_null() && schema.value("nullable", false)) return;
        for (const char* key : {"anyOf", "oneOf"}) {
            if (schema.contains(key) && !fits_one(schema.at(key), value)) {
                found.push_back(fmt::format("{}: fits none of {}", at, key));
            }
        }
        if (schema.contains("type") && !is_type(schema.at("type"), value)) {
            found.push_back(fmt::format("{}: is {}, not {}", at, value.type_name(),
                                        schema.at("type").get<std::string>()));
            return;
        }
        if (schema.contains("enum") && std::find(schema.at("enum").begin(), schema.at("enum").end(),
                                                 value) == schema.at("enum").end()) {
            found.push_back(fmt::format("{}: is none of the allowed values", at));
        }
        if (value.is_array() && schema.contains("items")) {
            for (const Json& one : value) check(schema.at("items"), one, at + "[]", found);
        }
        if (!value.is_object()) return;
        const Json required = schema.value("required", Json::array());
        for (const Json& name : required) {
            if (!value.contains(name.get<std::string>())) {
                found.push_back(fmt::format("{}: lacks {}", at, name.get<std::string>()));
            }
        }
        const Json properties = schema.value("properties", Json::object());
        for (const auto& [key, own] : value.items()) {
            if (properties.contains(key)) {
                check(properties.at(key), own, at + "." + key, found);
            } else if (schema.value("additionalProperties", Json()) == false) {
                found.push_back(fmt::format("{}: has no property {}", at, key));
            }
        }
    }

    Json schemas_;
};

}  // namespace steplog::sandbox
