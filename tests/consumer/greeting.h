// The consumer's workflow.
#pragma once

#include <steplog/engine/workflow.h>

#include <string>

inline steplog::Workflow greeting() {
    return {.name = "greeting", .run = [](steplog::Context& ctx, const steplog::Json& input) {
                const auto text = ctx.step(
                    "greet", {.idempotency_window = std::chrono::hours(24)},
                    [&](const steplog::Attempt&) { return "hello " + input.value("name", ""); });
                return steplog::Json(text);
            }};
}
