#include "engine/commands.h"

#include <fmt/format.h>

#include <limits>
#include <stdexcept>

namespace steplog {
namespace {

[[noreturn]] void wrong(const std::string& field) {
    throw std::invalid_argument(
        fmt::format("the command's {} is wrong: see workflow-resume --help", field));
}

std::string text_of(const Json& value, const std::string& field) {
    if (!value.is_string()) wrong(field);
    return value.get<std::string>();
}

std::int64_t count_of(const Json& value, const std::string& field, std::int64_t max) {
    if (!value.is_number_integer() || value < 0 || value > max) wrong(field);
    return value.get<std::int64_t>();
}

std::vector<std::string> texts_of(const Json& value, const std::string& field) {
    if (!value.is_array()) wrong(field);
    std::vector<std::string> texts;
    for (const Json& text : value) texts.push_back(text_of(text, field));
    return texts;
}

}  // namespace

Json resume_command(const ResumeRequest& request) {
    Json command = {{"command", "resume"}};
    if (!request.ids.empty()) command["ids"] = request.ids;
    if (request.state) command["state"] = to_string(*request.state);
    if (!request.workflow.empty()) command["workflow"] = request.workflow;
    if (!request.step.empty()) command["step"] = request.step;
    if (!request.error_code.empty()) command["error_code"] = request.error_code;
    if (request.older_than) command["older_than_ms"] = request.older_than->count();
    if (request.limit > 0) command["limit"] = request.limit;
    return command;
}

ResumeRequest parse_resume_command(const Json& command) {
    ResumeRequest request;
    if (!command.is_object()) wrong("form");
    for (const auto& [field, value] : command.items()) {
        if (field == "command") {
            if (value != "resume") wrong("name");
        } else if (field == "ids") {
            request.ids = texts_of(value, field);
            // No ids would mean all: never by mistake.
            if (request.ids.empty()) wrong(field);
        } else if (field == "state") {
            request.state = parse_state(text_of(value, field));
            if (!request.state) wrong(field);
        } else if (field == "workflow") {
            request.workflow = text_of(value, field);
        } else if (field == "step") {
            request.step = text_of(value, field);
        } else if (field == "error_code") {
            request.error_code = text_of(value, field);
        } else if (field == "older_than_ms") {
            request.older_than =
                Ms(count_of(value, field, std::numeric_limits<std::int64_t>::max() / 2));
        } else if (field == "limit") {
            request.limit =
                static_cast<int>(count_of(value, field, std::numeric_limits<int>::max()));
        } else {
            wrong("field " + field.substr(0, 40));
        }
    }
    return request;
}

Json json_of(const Resumed& resumed) {
    Json skipped = Json::array();
    for (const Resumed::Skipped& one : resumed.skipped)
        skipped.push_back({{"id", one.id}, {"reason", one.reason}});
    return {{"ids", resumed.ids}, {"skipped", std::move(skipped)}};
}

Resumed parse_resumed(const Json& json) {
    if (!json.is_object() || !json.contains("ids") || !json.contains("skipped"))
        throw std::invalid_argument("the answer to a resume has no ids or no skipped");
    Resumed resumed;
    resumed.ids = texts_of(json.at("ids"), "ids");
    if (!json.at("skipped").is_array()) wrong("skipped");
    for (const Json& one : json.at("skipped")) {
        if (!one.is_object() || !one.contains("id") || !one.contains("reason")) wrong("skipped");
        resumed.skipped.push_back(
            {text_of(one.at("id"), "id"), text_of(one.at("reason"), "reason")});
    }
    return resumed;
}

Json handle_command(const ResumeFunction& resume, const Json& command, const std::string& actor) {
    if (!command.is_object() || !command.contains("command") || command.at("command") != "resume")
        throw std::invalid_argument(
            "this server does not know that command: use the programs of its own release");
    ResumeRequest request = parse_resume_command(command);
    request.actor = actor;
    return json_of(resume(std::move(request)));
}

}  // namespace steplog
