// The command that forgets a customer, as JSON.
#include "engine/command_fields.h"
#include "engine/commands.h"

namespace steplog {

using namespace fields;

namespace {

constexpr std::size_t subject_length_max = 255;
constexpr int most = std::numeric_limits<int>::max();

bool flag_of(const Json& value, const std::string& field) {
    if (!value.is_boolean()) wrong(field);
    return value.get<bool>();
}

}  // namespace

Json forget_command(const ForgetCommand& order) {
    Json command = {{"command", "forget"},
                    {"subject", order.request.subject},
                    {"plan", order.request.plan},
                    {"rewrite", order.rewrite}};
    if (!order.request.reason.empty()) command["reason"] = order.request.reason;
    return command;
}

ForgetCommand parse_forget_command(const Json& command) {
    ForgetCommand order;
    ForgetRequest& request = order.request;
    for (const auto& [field, value] : command.items()) {
        if (field == "subject")
            request.subject = text_of(value, field);
        else if (field == "plan")
            request.plan = flag_of(value, field);
        else if (field == "rewrite")
            order.rewrite = flag_of(value, field);
        else if (field == "reason")
            request.reason = reason_of(value);
        else if (field != "command")
            unknown(field);
    }
    if (request.subject.empty() || request.subject.size() > subject_length_max) wrong("subject");
    return order;
}

Json json_of(const ForgetAnswer& answer) {
    const Forgotten& forgotten = answer.forgotten;
    return {{"name", forgotten.name},           {"done", forgotten.done},
            {"before", forgotten.before},       {"events", forgotten.events},
            {"instances", forgotten.instances}, {"once_keys", forgotten.once_keys},
            {"payloads", forgotten.payloads},   {"unfinished", forgotten.unfinished},
            {"words", forgotten.words},         {"swept", answer.swept}};
}

ForgetAnswer parse_forget_answer(const Json& json) {
    if (!json.is_object()) wrong("answer");
    const auto field = [&](const char* name) -> const Json& {
        if (!json.contains(name)) wrong(name);
        return json.at(name);
    };
    const auto count = [&](const char* name) {
        return static_cast<int>(count_of(field(name), name, most));
    };
    return {.forgotten = {.name = text_of(field("name"), "name"),
                          .done = flag_of(field("done"), "done"),
                          .before = flag_of(field("before"), "before"),
                          .events = count("events"),
                          .instances = count("instances"),
                          .once_keys = count("once_keys"),
                          .payloads = count("payloads"),
                          .unfinished = texts_of(field("unfinished"), "unfinished"),
                          .words = texts_of(field("words"), "words")},
            .swept = flag_of(field("swept"), "swept")};
}

}  // namespace steplog
