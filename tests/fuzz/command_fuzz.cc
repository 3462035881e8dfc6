// Feeds lines to the server's end of the control socket, behind the guard: what a local user asks.
// A resume is understood as it was written or refused with a sentence, never taken for more.
#include <stdexcept>

#include "engine/commands.h"
#include "engine/json_guard.h"
#include "tests/fuzz/fuzz.h"

using namespace steplog;
using fuzz::hold;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string why_not;
    const auto command = parse_guarded(fuzz::view_of(data, size), why_not);
    if (!command) return 0;
    try {
        const ResumeRequest request = parse_resume_command(*command);
        hold(request.limit >= 0);
        hold(!command->contains("ids") || !request.ids.empty());
        if (request.older_than) hold(*request.older_than >= Ms(0));
        // Said again, it is the same request.
        const ResumeRequest again = parse_resume_command(resume_command(request));
        hold(again.ids == request.ids && again.state == request.state &&
             again.workflow == request.workflow && again.step == request.step &&
             again.error_code == request.error_code && again.limit == request.limit &&
             again.older_than == request.older_than);
    } catch (const std::invalid_argument& error) {
        hold(*error.what() != '\0');
    }
    try {
        const Resumed resumed = parse_resumed(*command);
        hold(json_of(parse_resumed(json_of(resumed))) == json_of(resumed));
    } catch (const std::invalid_argument& error) {
        hold(*error.what() != '\0');
    }
    try {
        const MoveRequest move = parse_move_command(*command);
        hold(!move.ids.empty() && move.to_version >= 1 && !move.workflows);
        const MoveRequest again = parse_move_command(move_command(move));
        hold(again.ids == move.ids && again.to_version == move.to_version &&
             again.reason == move.reason);
    } catch (const std::invalid_argument& error) {
        hold(*error.what() != '\0');
    }
    try {
        const ScheduleChange change = parse_schedule_command(*command);
        hold(!change.name.empty());
        const ScheduleChange again = parse_schedule_command(schedule_command(change));
        hold(again.kind == change.kind && again.name == change.name &&
             again.reason == change.reason);
    } catch (const std::invalid_argument& error) {
        hold(*error.what() != '\0');
    }
    return 0;
}
