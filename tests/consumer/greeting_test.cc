// What a user's test of a workflow looks like, with no test framework at all.
#include <steplog/engine/testing/workflow_test.h>

#include <cstdio>

#include "greeting.h"

int main() {
    steplog::testing::WorkflowTest test(greeting());
    const auto ended = test.run({{"name", "ada"}});
    if (ended.output != "hello ada") return std::puts("another output"), 1;
    const auto crashes = test.crash_everywhere({{"name", "ada"}});
    std::printf("%d crashes: %s\n", crashes.places, crashes.failure.c_str());
    return crashes.places > 0 && crashes.failure.empty() ? 0 : 1;
}
