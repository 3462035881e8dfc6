// workflow-sandbox: `serve` runs the stand-ins, every other verb speaks to a running one over its
// control API. Data goes to stdout, words to stderr; exit 0 done, 1 refused or failed, 2 wrong
// usage.
#include <fmt/core.h>
#include <pthread.h>

#include <CLI/CLI.hpp>
#include <array>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "tools/sandbox/http_call.h"
#include "tools/sandbox/service.h"

namespace steplog::sandbox {
namespace {

constexpr int done = 0;
constexpr int failed = 1;
constexpr int wrong_usage = 2;

constexpr const char* examples = R"(Examples:
  workflow-sandbox serve --webhook http://127.0.0.1:8080/api/stripe-webhook --webhook-secret whsec_…
  export STEPLOG_SANDBOX=http://127.0.0.1:8090
  workflow-sandbox purchase --email ada@example.com --name "Ada Lovelace"
  workflow-sandbox fault lost_answer --provider clerk --route "POST /v1/users" --times 1
  workflow-sandbox fault down --provider clerk
  workflow-sandbox fault clear
  workflow-sandbox send event.json --copies 3
  workflow-sandbox send --type invoice.paid
  workflow-sandbox state --json
)";

std::string environment(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
}

void complain(const std::string& text) { fmt::print(stderr, "workflow-sandbox: {}\n", text); }

struct ServeArguments {
    std::string listen = "127.0.0.1:0";
    std::string webhook;
    std::vector<std::string> secrets;
    std::uint64_t seed = 1;
    bool separate_ports = false;
    int senders = 8;
};

int serve(const ServeArguments& arguments) {
    ServiceOptions options;
    options.listen = arguments.listen;
    options.separate_ports = arguments.separate_ports;
    options.sandbox.seed = arguments.seed;
    options.sender.url = arguments.webhook;
    options.sender.secrets = arguments.secrets;
    options.sender.seed = arguments.seed;
    options.sender.threads = arguments.senders;
    if (options.sender.secrets.empty() && !environment("STRIPE_WEBHOOK_SECRET").empty()) {
        options.sender.secrets.push_back(environment("STRIPE_WEBHOOK_SECRET"));
    }
    if (!options.sender.url.empty() && options.sender.secrets.empty()) {
        complain(
            "--webhook needs a secret to sign with: add --webhook-secret whsec_… (the server's "
            "STRIPE_WEBHOOK_SECRET)");
        return wrong_usage;
    }
    std::signal(SIGPIPE, SIG_IGN);
    // Blocked before any thread starts, so that only sigwait below receives them.
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);

    Service service(std::move(options));
    fmt::print("{}\n", to_text(service.bases()));
    std::fflush(stdout);
    const auto base = [&](Provider provider) { return service.base(provider); };
    fmt::print(stderr,
               "Point the server here:\n"
               "  STRIPE_API_BASE={}\n  CLERK_API_BASE={}\n  RESEND_API_BASE={}\n"
               "and the other verbs: export STEPLOG_SANDBOX={}\n",
               base(Provider::stripe), base(Provider::clerk), base(Provider::resend),
               service.base());
    int signal = 0;
    sigwait(&signals, &signal);
    return done;
}

/// Speaks to a running sandbox.
class Remote {
  public:
    explicit Remote(std::string base) : base_(std::move(base)) {
        while (base_.ends_with('/')) base_.pop_back();
    }

    /// The answer; nothing, and a complaint on stderr, when there is none or it is a refusal.
    std::optional<Json> call(const std::string& method, const std::string& path,
                             const Json& body = nullptr) const {
        const HttpAnswer answer =
            http_call(method, base_ + "/_sandbox/" + path, {{"Content-Type", "application/json"}},
                      body.is_null() ? "" : to_text(body), Ms(620'000));
        if (answer.status == 0) {
            complain(
                fmt::format("no sandbox answers at {} ({}); start one with: workflow-sandbox "
                            "serve",
                            base_, answer.error));
            return std::nullopt;
        }
        Json json = Json::parse(answer.body, nullptr, false);
        if (answer.status == 200 && !json.is_discarded()) return json;
        const std::string why = json.is_discarded() ? "" : string_at(json, "error");
        complain(why.empty()
                     ? fmt::format("{} answered {}: is that a sandbox?", base_, answer.status)
                     : why);
        return std::nullopt;
    }

  private:
    std::string base_;
};

struct PurchaseArguments {
    std::string email = "ada@example.com";
    std::string name = "Ada Lovelace";
    std::string customer, account, async_payment, thin;
    bool no_email = false, no_name = false, guest = false, trialing = false, renewal = false;
    bool live = false, old_api_version = false, shuffle = false, hold = false, wait = false;
    std::map<std::string, std::string> metadata;
    int copies = 1;
    int count = 1;
};

/// "ada@example.com" -> "ada+7@example.com": a customer of his own for each purchase.
std::string numbered(const std::string& email, int n) {
    const auto at = email.find('@');
    if (at == std::string::npos) return email;
    return fmt::format("{}+{}{}", email.substr(0, at), n, email.substr(at));
}

Json body_of(const PurchaseArguments& arguments, int n) {
    const std::string email = arguments.count > 1 ? numbered(arguments.email, n) : arguments.email;
    Json body = {{"email", arguments.no_email ? Json() : Json(email)},
                 {"name", arguments.no_name ? Json() : Json(arguments.name)},
                 {"guest", arguments.guest},
                 {"trialing", arguments.trialing},
                 {"renewal", arguments.renewal},
                 {"live", arguments.live},
                 {"old_api_version", arguments.old_api_version},
                 {"metadata", arguments.metadata},
                 {"shuffle", arguments.shuffle},
                 {"deliver", !arguments.hold},
                 {"copies", arguments.copies}};
    if (!arguments.customer.empty()) body["customer"] = arguments.customer;
    if (!arguments.account.empty()) body["account"] = arguments.account;
    if (!arguments.async_payment.empty()) body["async"] = arguments.async_payment;
    if (arguments.thin == "both") body["thin"] = "both";
    if (arguments.thin == "only") body["thin"] = true;
    return body;
}

int purchase(const Remote& remote, const PurchaseArguments& arguments, bool as_json) {
    for (int n = 1; n <= arguments.count; ++n) {
        const auto bought = remote.call("POST", "purchase", body_of(arguments, n));
        if (!bought) return failed;
        if (as_json) {
            fmt::print("{}\n", to_text(*bought));
            continue;
        }
        for (const char* key : {"customer", "subscription", "invoice", "session"}) {
            const std::string id = string_at(*bought, key);
            if (!id.empty()) fmt::print("{:<13}{}\n", key, id);
        }
        for (const Json& event : bought->at("events")) {
            fmt::print("{:<13}{}  {}\n", "event", string_at(event, "id"), string_at(event, "type"));
        }
    }
    if (!arguments.wait) return done;
    const auto idle = remote.call("POST", "wait", Json::object());
    if (!idle) return failed;
    if (member(*idle, "idle") != nullptr && idle->at("idle") == true) return done;
    complain("some events were not acknowledged yet; see: workflow-sandbox deliveries");
    return failed;
}

int send(const Remote& remote, const std::vector<std::string>& files, const std::string& type,
         bool shuffle, int copies, bool as_json) {
    Json body = {{"shuffle", shuffle}, {"copies", copies}};
    if (!type.empty()) body["type"] = type;
    if (!files.empty()) body["events"] = Json::array();
    for (const std::string& file : files) {
        std::ifstream in(file, std::ios::binary);
        if (!in) {
            complain(fmt::format("cannot read {}: check the path", file));
            return failed;
        }
        // The bytes as they are: they are what is signed.
        body["events"].push_back(std::string(std::istreambuf_iterator<char>(in), {}));
    }
    const auto sent = remote.call("POST", "send", body);
    if (!sent) return failed;
    if (as_json) {
        fmt::print("{}\n", to_text(*sent));
    } else {
        for (const Json& id : sent->at("events")) {
            fmt::print("{}\n", id.is_string() ? id.get<std::string>() : "");
        }
    }
    return done;
}

struct FaultArguments {
    std::string kind, provider, route;
    int times = 0, per_mille = 1000, status = 503, delay_ms = 0, retry_after_s = -1;
    bool remembered = false, with_effect = false, without_effect = false;
    std::map<std::string, std::string> headers;
};

void print_faults(const Json& answer, bool as_json) {
    if (as_json) {
        fmt::print("{}\n", to_text(answer.at("faults")));
        return;
    }
    for (const Json& fault : answer.at("faults")) {
        const Json* times = member(fault, "times");
        fmt::print("{} of {} on {} {}\n", string_at(fault, "kind"), string_at(fault, "provider"),
                   string_at(fault, "route").empty() ? "every route" : string_at(fault, "route"),
                   times == nullptr || times->is_null()
                       ? std::string("until cleared")
                       : fmt::format("{} times", times->get<int>()));
    }
    if (answer.at("faults").empty()) fmt::print(stderr, "No faults are planned.\n");
}

int fault(const Remote& remote, const FaultArguments& arguments, bool as_json) {
    std::optional<Json> answer;
    const std::string provider =
        arguments.provider.empty() ? "" : "?provider=" + arguments.provider;
    if (arguments.kind == "clear") {
        answer = remote.call("DELETE", "faults" + provider);
    } else if (arguments.kind == "list") {
        answer = remote.call("GET", "faults");
    } else {
        Json body = {{"kind", arguments.kind},
                     {"provider", arguments.provider.empty() ? "*" : arguments.provider},
                     {"route", arguments.route},
                     {"per_mille", arguments.per_mille},
                     {"status", arguments.status},
                     {"delay_ms", arguments.delay_ms},
                     {"remembered", arguments.remembered},
                     {"headers", arguments.headers}};
        if (arguments.times > 0) body["times"] = arguments.times;
        if (arguments.retry_after_s >= 0) body["retry_after_s"] = arguments.retry_after_s;
        if (arguments.with_effect) body["effect"] = true;
        if (arguments.without_effect) body["effect"] = false;
        answer = remote.call("POST", "faults", body);
    }
    if (!answer) return failed;
    print_faults(*answer, as_json);
    return done;
}

int state(const Remote& remote, bool as_json) {
    const auto answer = remote.call("GET", as_json ? "state" : "state?full=false");
    if (!answer) return failed;
    if (as_json) {
        fmt::print("{}\n", to_text(*answer));
        return done;
    }
    for (const char* part : {"counts", "deliveries", "requests"}) {
        for (const auto& [key, value] : answer->at(part).items()) {
            fmt::print("{:<12}{:<40}{:>8}\n", part, key, to_text(value));
        }
    }
    print_faults(*answer, false);
    return done;
}

int deliveries(const Remote& remote, bool as_json) {
    const auto answer = remote.call("GET", "deliveries");
    if (!answer) return failed;
    if (as_json) {
        fmt::print("{}\n", to_text(*answer));
        return done;
    }
    for (const Json& one : answer->at("acknowledgements")) {
        fmt::print("{:<32}{:<44}{:>4}  {:>3} tries  {}\n", string_at(one, "event"),
                   string_at(one, "type"), to_text(one.at("status")), to_text(one.at("attempts")),
                   string_at(one, "note"));
    }
    return done;
}

int add_user(const Remote& remote, const std::string& email, const std::string& external_id,
             bool unverified, bool as_json) {
    Json body = {{"email", email}, {"verified", !unverified}, {"external_id", external_id}};
    const auto answer = remote.call("POST", "users", body);
    if (!answer) return failed;
    fmt::print("{}\n", as_json ? to_text(*answer) : string_at(*answer, "id"));
    return done;
}

/// For deliveries by other means, curl for one.
int sign(const std::string& secret, std::int64_t timestamp_s) {
    std::string body;
    std::array<char, 4096> chunk;
    while (const std::size_t got = std::fread(chunk.data(), 1, chunk.size(), stdin)) {
        body.append(chunk.data(), got);
    }
    const std::int64_t now_s = SystemClock().now_ms() / 1000;
    fmt::print("{}\n", stripe_signature(body, {secret}, timestamp_s > 0 ? timestamp_s : now_s));
    return done;
}

/// Commands and their options; what was chosen is left in the members.
struct CommandLine {
    CLI::App app{"Stand-ins for Stripe, Clerk and Resend on loopback, with faults on demand.",
                 "workflow-sandbox"};
    std::string sandbox = environment("STEPLOG_SANDBOX");
    bool as_json = false;
    ServeArguments serve;
    PurchaseArguments purchase;
    FaultArguments fault;
    std::vector<std::string> files;
    std::string type, user_email, user_external_id, secret;
    std::int64_t timestamp_s = 0;
    bool shuffle = false, unverified = false;
    int copies = 1;

    CommandLine() {
        app.footer(examples);
        app.set_version_flag("--version", "workflow-sandbox " STEPLOG_VERSION);
        app.require_subcommand(1);
        app.fallthrough();
        app.add_option("--sandbox", sandbox, "URL of a running sandbox (else STEPLOG_SANDBOX)");
        app.add_flag("--json", as_json, "print JSON");
        add_serve();
        add_purchase();
        add_send_and_fault();
        app.add_subcommand("state", "what there is: counts, requests, faults; --json shows all");
        app.add_subcommand("deliveries", "every event sent and what the webhook answered");
        app.add_subcommand("reset", "forget everything, faults included");
    }

    void add_serve() {
        CLI::App* verb = app.add_subcommand("serve", "run the stand-ins until SIGTERM");
        verb->add_option("--listen", serve.listen, "loopback address; :0 takes a free port");
        verb->add_option("--webhook", serve.webhook, "deliver events to this URL");
        verb->add_option("--webhook-secret", serve.secrets,
                         "sign with it; several while one is being rolled (else "
                         "STRIPE_WEBHOOK_SECRET)");
        verb->add_option("--seed", serve.seed, "of ids, chances and shuffles");
        verb->add_option("--senders", serve.senders, "deliveries at a time")
            ->check(CLI::Range(1, 64));
        verb->add_flag("--separate-ports", serve.separate_ports,
                       "a port for each provider, refusing connections while it is down");
    }

    void add_purchase() {
        CLI::App* verb =
            app.add_subcommand("purchase", "a customer buys; its events are delivered");
        verb->add_option("--email", purchase.email);
        verb->add_option("--name", purchase.name);
        verb->add_flag("--no-email", purchase.no_email, "there is no address anywhere");
        verb->add_flag("--no-name", purchase.no_name);
        verb->add_option("--customer", purchase.customer, "an existing customer buys again");
        verb->add_option("--account", purchase.account, "of a Connect account");
        verb->add_option("--metadata", purchase.metadata, "of the session: --metadata plan pro");
        verb->add_flag("--guest", purchase.guest, "no customer, no subscription");
        verb->add_flag("--trialing", purchase.trialing);
        verb->add_flag("--renewal", purchase.renewal, "and the first renewal");
        verb->add_flag("--live", purchase.live, "in live mode");
        verb->add_option("--async", purchase.async_payment, "delayed payment")
            ->check(CLI::IsMember({"succeeds", "fails", "pending"}));
        verb->add_option("--thin", purchase.thin, "thin events")
            ->check(CLI::IsMember({"only", "both"}));
        verb->add_flag("--old-api-version", purchase.old_api_version, "events as of 2024-06-20");
        verb->add_option("--count", purchase.count, "so many customers, ada+1@… and so on")
            ->check(CLI::Range(1, 1'000'000));
        verb->add_option("--copies", purchase.copies, "deliver each event so often")
            ->check(CLI::Range(1, 1000));
        verb->add_flag("--shuffle", purchase.shuffle, "deliver in another order");
        verb->add_flag("--hold", purchase.hold, "deliver nothing");
        verb->add_flag("--wait", purchase.wait, "until the webhook has acknowledged everything");
    }

    void add_send_and_fault() {
        CLI::App* verb = app.add_subcommand("send", "deliver events from files, or one of a type");
        verb->add_option("files", files, "an event's bytes each");
        verb->add_option("--type", type, "about the newest object of its kind: invoice.paid");
        verb->add_flag("--shuffle", shuffle);
        verb->add_option("--copies", copies)->check(CLI::Range(1, 1000));
        verb = app.add_subcommand("fault", "plan a fault, or clear, or list");
        verb->add_option("kind", fault.kind,
                         "down slow hang status rate_limited unauthorized reset lost_answer "
                         "truncated garbage interim interim_only oversized | clear | list")
            ->required();
        verb->add_option("--provider", fault.provider, "stripe, clerk or resend; else all");
        verb->add_option("--route", fault.route, "\"POST /v1/users*\"; else every route");
        verb->add_option("--times", fault.times, "then it is over; else until cleared");
        verb->add_option("--per-mille", fault.per_mille, "of the requests");
        verb->add_option("--status", fault.status, "with kind status");
        verb->add_option("--delay-ms", fault.delay_ms);
        verb->add_option("--retry-after", fault.retry_after_s, "seconds");
        verb->add_option("--header", fault.headers,
                         "of an error: --header Stripe-Should-Retry false");
        verb->add_flag("--remembered", fault.remembered, "stored under the idempotency key");
        verb->add_flag("--with-effect", fault.with_effect, "the effect happens all the same");
        verb->add_flag("--without-effect", fault.without_effect);
        verb = app.add_subcommand("user", "an account that Clerk has already");
        verb->add_option("email", user_email)->required();
        verb->add_option("--external-id", user_external_id);
        verb->add_flag("--unverified", unverified);
        verb = app.add_subcommand("sign", "print the Stripe-Signature of what stands on stdin");
        verb->add_option("--secret", secret, "whsec_…")->required();
        verb->add_option("--timestamp", timestamp_s, "Unix seconds; else now");
    }
};

int run(CommandLine& line) {
    const std::string verb = line.app.get_subcommands().front()->get_name();
    if (verb == "serve") return serve(line.serve);
    if (verb == "sign") return sign(line.secret, line.timestamp_s);
    if (line.sandbox.empty()) {
        complain(
            "which sandbox? Give --sandbox URL or set STEPLOG_SANDBOX; `workflow-sandbox serve` "
            "starts one and prints its URL");
        return wrong_usage;
    }
    const Remote remote(line.sandbox);
    if (verb == "purchase") return purchase(remote, line.purchase, line.as_json);
    if (verb == "fault") return fault(remote, line.fault, line.as_json);
    if (verb == "state") return state(remote, line.as_json);
    if (verb == "deliveries") return deliveries(remote, line.as_json);
    if (verb == "user") {
        return add_user(remote, line.user_email, line.user_external_id, line.unverified,
                        line.as_json);
    }
    if (verb == "reset") return remote.call("POST", "reset") ? done : failed;
    if (line.files.empty() && line.type.empty()) {
        complain("send what? Give files, or --type invoice.paid");
        return wrong_usage;
    }
    return send(remote, line.files, line.type, line.shuffle, line.copies, line.as_json);
}

}  // namespace
}  // namespace steplog::sandbox

int main(int argc, char** argv) {
    steplog::sandbox::CommandLine line;
    try {
        line.app.parse(argc, argv);
        return steplog::sandbox::run(line);
    } catch (const CLI::ParseError& error) {
        return line.app.exit(error) == 0 ? steplog::sandbox::done : steplog::sandbox::wrong_usage;
    } catch (const std::exception& error) {
        steplog::sandbox::complain(error.what());
        return steplog::sandbox::failed;
    }
}
