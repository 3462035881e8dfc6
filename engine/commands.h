// What a person may order, as JSON: the form in which a command travels through the control socket,
// and the one function that carries it out, in the server or in a program that owns the database
// itself. Pure but for handle_command; any thread.
#pragma once

#include <functional>

#include "engine/engine.h"
#include "engine/store.h"

namespace steplog {

/// {"command":"resume","ids":[…]} or with any of state, workflow, step, error_code, older_than_ms,
/// limit. The actor does not travel: the receiver knows who asks.
Json resume_command(const ResumeRequest& request);

/// The inverse. Throws std::invalid_argument naming the field that is wrong or unknown.
ResumeRequest parse_resume_command(const Json& command);

/// {"ids":[…],"skipped":[{"id","reason"}…]}
Json json_of(const Resumed& resumed);

/// The inverse. Throws std::invalid_argument.
Resumed parse_resumed(const Json& json);

/// How a resume is carried out here; it is durable on return.
using ResumeFunction = std::function<Resumed(ResumeRequest)>;

/// Carries out one command for `actor` and returns its result. Throws std::invalid_argument for
/// what is no command, StoreError.
Json handle_command(const ResumeFunction& resume, const Json& command, const std::string& actor);

/// In the server: workers take the instances up at once.
inline Json handle_command(Engine& engine, const Json& command, const std::string& actor) {
    return handle_command([&](ResumeRequest request) { return engine.resume(std::move(request)); },
                          command, actor);
}

/// With a store of one's own.
inline Json handle_command(Store& store, const Json& command, const std::string& actor) {
    return handle_command(
        [&](ResumeRequest request) { return store.resume(std::move(request)).get(); }, command,
        actor);
}

}  // namespace steplog
