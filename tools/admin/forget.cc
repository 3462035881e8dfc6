// workflow-admin forget: makes one customer's data unreadable, and then looks for what it erased in
// the bytes of the database's files.
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <thread>

#include "engine/commands.h"
#include "engine/inspect_json.h"
#include "engine/inspect_redact.h"
#include "tools/admin/verb.h"

namespace steplog::tools {
namespace {

constexpr int sweeps_max = 10;  // a reader lets go of the write-ahead log within a second or so
constexpr Ms between_sweeps{500};
constexpr int looks_max = 120;  // a running step may take as long as its provider's deadline
constexpr std::size_t unfinished_shown_max = 5;
constexpr std::streamsize block_bytes = 1 << 20;

struct ForgetOptions {
    std::string subject;
    bool plan = false;
    bool cancel = false;
};

// Which of the ids are still in the file. Whole ids only: an id may be the beginning of another.
// Only a program that does not hold the database open may read its bytes like this.
std::size_t found_in(const std::string& path, const std::vector<std::string>& words) {
    const auto in_word = [](char c) {
        return std::isalnum(static_cast<unsigned char>(c)) || c == '_';
    };
    std::size_t longest = 0;
    for (const std::string& word : words) longest = std::max(longest, word.size());
    std::ifstream file(path, std::ios::binary);
    std::string window, block(block_bytes, '\0');
    std::size_t found = 0;
    while (file.read(block.data(), block_bytes) || file.gcount() > 0) {
        window.append(block, 0, static_cast<std::size_t>(file.gcount()));
        for (const std::string& word : words)
            for (auto at = window.find(word); at != window.npos; at = window.find(word, at + 1)) {
                const auto behind = at + word.size();
                if (behind < window.size() && !in_word(window[behind])) ++found;
            }
        if (window.size() > longest) window.erase(0, window.size() - longest);
    }
    return found;
}

std::string unfinished_message(const Forgotten& forgotten) {
    std::string ids;
    for (std::size_t i = 0; i < forgotten.unfinished.size() && i < unfinished_shown_max; ++i)
        ids += (i == 0 ? "" : ", ") + printable(redact_text(forgotten.unfinished[i]));
    if (forgotten.unfinished.size() > unfinished_shown_max) ids += ", …";
    return fmt::format(
        "nothing was forgotten: {} of the customer's instances {} not ended ({}). Let them end and "
        "run this again, or run it with --cancel",
        forgotten.unfinished.size(), forgotten.unfinished.size() == 1 ? "has" : "have", ids);
}

ForgetAnswer order(Owner& owner, const Admin& admin, const ForgetOptions& options, bool rewrite) {
    const Json command = forget_command(
        {.request = {.subject = options.subject, .plan = options.plan, .reason = admin.reason},
         .rewrite = rewrite});
    ForgetAnswer answer = parse_forget_answer(owner.order(command));
    const bool gone = answer.forgotten.done || answer.forgotten.before;
    for (int sweep = 1; gone && !options.plan && !answer.swept && sweep < sweeps_max; ++sweep) {
        std::this_thread::sleep_for(between_sweeps);
        answer.swept = parse_forget_answer(owner.order(command)).swept;
    }
    return answer;
}

void print_counts(const Admin& admin, const Forgotten& forgotten, bool plan) {
    Json result = {{"name", forgotten.name},           {"forgotten", forgotten.done},
                   {"before", forgotten.before},       {"plan", plan},
                   {"events", forgotten.events},       {"instances", forgotten.instances},
                   {"once_keys", forgotten.once_keys}, {"payloads", forgotten.payloads}};
    tell_of_kept_wal(admin, Ms(0), result);
    if (admin.common.json) return print_line(dump(result));
    if (plan)
        print_line(
            fmt::format("would forget {} events, {} instances and {} once keys; nothing was "
                        "changed",
                        forgotten.events, forgotten.instances, forgotten.once_keys));
    else if (forgotten.done)
        print_line(
            fmt::format("forgotten: {} events, {} instances, {} once keys, {} payloads; the "
                        "customer is {} from now on",
                        forgotten.events, forgotten.instances, forgotten.once_keys,
                        forgotten.payloads, forgotten.name));
    else
        print_line(fmt::format("was forgotten before, as {}", forgotten.name));
}

void expect_swept(const ForgetAnswer& answer) {
    if (answer.swept) return;
    throw Failure(
        "the data is erased, but a reader holds the write-ahead log, where old bytes are: end long "
        "looks at the database (workflow-inspect check, a backup) and run this again");
}

// Looks for what is gone in the bytes of the files; where a page kept a copy of a moved row, the
// database is written anew.
void expect_no_traces(Owner& owner, const Admin& admin, const ForgetOptions& options,
                      std::vector<std::string> words) {
    words.push_back(options.subject);
    const auto left = [&] {
        std::size_t found = 0;
        for (const char* part : {"", "-wal"})
            found += found_in(admin.common.database + part, words);
        return found;
    };
    if (left() == 0) return;
    expect_swept(order(owner, admin, options, true));
    if (const auto found = left(); found > 0)
        throw Failure(fmt::format(
            "the data is erased, but ids of it were still found {} times: in what another customer "
            "has (a shared account), or in what arrived since; run this again, and see "
            "workflow-inspect customer",
            found));
}

// Those that run end at their next step; then it is asked again.
void cancel_unfinished(Owner& owner, const Admin& admin, const ForgetOptions& options,
                       ForgetAnswer& answer) {
    for (int look = 0; !answer.forgotten.unfinished.empty() && look < looks_max; ++look) {
        if (look > 0) std::this_thread::sleep_for(between_sweeps);
        owner.order(cancel_command({.ids = answer.forgotten.unfinished, .reason = admin.reason}));
        answer = order(owner, admin, options, false);
    }
}

int forget(Admin& admin, const ForgetOptions& options) {
    Owner owner = admin.owner();
    ForgetAnswer answer = order(owner, admin, options, false);
    if (options.cancel && !options.plan) cancel_unfinished(owner, admin, options, answer);
    const Forgotten& forgotten = answer.forgotten;
    if (!forgotten.unfinished.empty() && !options.plan)
        throw Failure(unfinished_message(forgotten));
    const bool known = forgotten.done || forgotten.before ||
                       forgotten.events + forgotten.instances + forgotten.once_keys > 0;
    if (!known)
        throw Failure(
            "nothing is known of that customer: workflow-inspect events shows what has arrived");
    if (!options.plan) {
        expect_swept(answer);
        expect_no_traces(owner, admin, options, forgotten.words);
    }
    print_counts(admin, forgotten, options.plan);
    return exit_done;
}

}  // namespace

void add_forget(CLI::App& app, Admin& admin) {
    const auto options = std::make_shared<ForgetOptions>();
    CLI::App* verb = add_verb(app, admin, "forget", "makes one customer's data unreadable",
                              [&admin, options] { return forget(admin, *options); });
    verb->add_option("CUS_ID", options->subject, "the customer's id (a guest's: the session's)")
        ->required();
    verb->add_flag("--plan", options->plan, "only count what would be forgotten");
    verb->add_flag("--cancel", options->cancel, "end the customer's unfinished instances first");
    add_reason(*verb, admin);
    verb->footer(
        "Inputs, results and messages are erased and the customer's data key is destroyed; event "
        "ids, keys and once keys become keyed hashes, so that what is delivered again is still "
        "known. Log, times and counts stay. It cannot be undone. Backups, and log lines that were "
        "written before, keep what they have until you delete them; Stripe, Clerk and the e-mail "
        "service are not told.");
}

}  // namespace steplog::tools
