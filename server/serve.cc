// Wires the server; see serve.h.
#include "server/serve.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <future>
#include <memory>
#include <optional>

#include "engine/commands.h"
#include "engine/control.h"
#include "engine/engine.h"
#include "engine/inspect_redact.h"
#include "engine/sqlite_store.h"
#include "engine/text.h"
#include "server/admin.h"
#include "server/alerts.h"
#include "server/dashboard.h"
#include "server/front.h"
#include "server/health.h"
#include "server/log.h"
#include "server/lost_commits.h"
#include "server/metrics.h"
#include "server/missed_events.h"
#include "server/permissions.h"
#include "server/process.h"
#include "server/rate_limiter.h"
#include "server/retention.h"
#include "server/traces.h"
#include "server/watchdog.h"
#include "server/webhook.h"
#include "server/workflows.h"

namespace steplog::server {
namespace {

constexpr int exit_io_error = 74;  // sysexits.h: the store failed; restarting is the recovery
constexpr Ms grace_max = std::chrono::seconds(20);
constexpr Ms last_spans = std::chrono::seconds(2);
constexpr Ms last_answers = Ms(300);  // of the second between the store's failure and the end

SqliteOptions store_options(const Settings& settings, Metrics& metrics, Log& log,
                            std::function<void(const std::string&)> on_fatal) {
    SqliteOptions options;
    options.database = settings.database;
    options.program = "workflow-server";
    options.lease = settings.lease;
    options.encryption_keys = settings.encryption_keys;
    options.on_fatal = std::move(on_fatal);
    options.on_commit = [&metrics](std::size_t items, std::chrono::microseconds took) {
        metrics.observe_commit(items, took);
    };
    options.on_restored = [&log](const std::string& what) { log.warn(what); };
    return options;
}

EngineOptions engine_options(const Settings& settings, Log& log, Metrics& metrics, Traces* traces,
                             std::function<void(const std::string&)> on_fatal) {
    EngineOptions options;
    options.workers = settings.workers;
    options.lease = settings.lease;
    options.steps.retry = settings.retry;
    options.steps.attempt_timeout = settings.http_timeout;
    options.on_transition = [&log, &metrics, traces](const Transitioned& transitioned) {
        log_transition(log, transitioned);
        metrics.observe(transitioned);
        if (traces != nullptr) traces->observe(transitioned);
    };
    options.on_fatal = std::move(on_fatal);
    return options;
}

/// What the clock starts.
std::vector<Schedule> schedules(const Settings& settings) {
    std::vector<Schedule> all;
    if (settings.reconcile != Reconcile::off)
        all.push_back(steps::reconcile_schedule({.dry_run = settings.reconcile == Reconcile::look,
                                                 .quiet = settings.reconcile == Reconcile::quiet},
                                                settings.reconcile_at, settings.time_zone));
    if (settings.missed_events)
        all.push_back(steps::missed_events_schedule(settings.missed_events_at, settings.time_zone));
    return all;
}

void tell(Log& log, Alerts& alerts, const steps::Inbox::Found& found) {
    if (found.missing > 0) alerts.note(steps::TroubleKind::missed, found.missing);
    if (found.endpoints_disabled > 0)
        alerts.note(steps::TroubleKind::endpoint_disabled, found.endpoints_disabled);
    const bool odd = found.missing > 0 || found.endpoints_disabled > 0;
    log.write(odd ? LogLevel::warn : LogLevel::info,
              found.missing > 0 ? "events that Stripe never delivered were found in its list"
                                : "the inbox was compared with Stripe's list",
              {{"instance", found.instance},
               {"checked", found.checked},
               {"missing", found.missing},
               {"endpoints_disabled", found.endpoints_disabled}});
}

void tell(Log& log, Alerts& alerts, const steps::InstanceDesk::Found& found) {
    const bool to_be_done = found.dry_run && found.missing > 0;
    if (found.missing > 0)
        alerts.note(found.dry_run ? steps::TroubleKind::without_account
                                  : steps::TroubleKind::provisioned_late,
                    static_cast<std::int64_t>(found.missing));
    const auto level = to_be_done || found.errors > 0 ? LogLevel::warn : LogLevel::info;
    const auto number = [](std::size_t count) { return static_cast<std::int64_t>(count); };
    std::vector<Field> fields = {{"instance", found.instance},
                                 {"checked", number(found.checked)},
                                 {"missing", number(found.missing)},
                                 {"started", number(found.started)},
                                 {"errors", number(found.errors)}};
    if (to_be_done)
        fields.push_back({"next", "workflow-inspect show " + found.instance +
                                      "; POST /api/admin/fix-missing-clerk-accounts provisions "
                                      "them"});
    log.write(level,
              to_be_done ? "reconciliation found paying customers without an account"
                         : "reconciliation is through",
              fields);
}

/// The admin API, the dashboard and what they stand on; nothing without a key.
struct Admin {
    Admin(const Settings& settings, Engine& engine, EngineDesk& desk, const Clock& clock,
          Random& random, Log& log)
        : guard({.keys = settings.admin_keys, .https = !settings.tls_cert.empty()}, clock, log),
          instances(engine, {settings.database, settings.encryption_keys}, clock, log),
          reconciliation(engine, desk, clock, random,
                         {.file = {settings.database, settings.encryption_keys}}),
          sessions(clock),
          overview(settings.database, clock),
          api(guard, instances, reconciliation, &sessions, &overview),
          dashboard(guard, sessions, !settings.tls_cert.empty(), log) {}
    void add_to(httplib::Server& routes) {
        api.add_to(routes);
        dashboard.add_to(routes);
    }
    AdminGuard guard;
    AdminInstances instances;
    Reconciliation reconciliation;
    AdminSessions sessions;
    AdminOverview overview;
    AdminApi api;
    Dashboard dashboard;
};

/// What the front does, told within bounds: what is refused is anybody's to cause.
class FrontLog {
  public:
    explicit FrontLog(Log& log) : log_(log) {}

    void tell(const FrontEvent& event) {
        const bool answered = event.kind == FrontEvent::Kind::answered;
        if (!answered && !lines_.allow("", SystemClock().now_ms())) return;
        const auto level = answered                                 ? LogLevel::debug
                           : event.kind == FrontEvent::Kind::failed ? LogLevel::warn
                                                                    : LogLevel::info;
        log_.write(level, answered ? "answered" : "request not served",
                   {{"method", event.method},
                    {"path", shown_path(event)},
                    {"status", event.status},
                    {"address", event.address},
                    {"took_ms", event.took_ms},
                    {"reason", std::string(event.reason)}});
    }

  private:
    /// A path that leads nowhere is a stranger's words: they may be anybody's name.
    static std::string shown_path(const FrontEvent& event) {
        const bool leads_nowhere = event.status == 400 || event.status == 404;
        return leads_nowhere ? "" : redact_text(event.path);
    }

    Log& log_;
    RateLimiter lines_{10, 50};
};

FrontOptions front_options(const Settings& settings, FrontLog& log, Metrics& metrics) {
    FrontOptions options;
    static_cast<FrontLimits&>(options) = settings.front;
    options.listen = settings.listen;
    options.trusted_proxies = settings.trusted_proxies;
    options.tls_cert = settings.tls_cert;
    options.tls_key = settings.tls_key;
    options.on_event = [&log, &metrics](const FrontEvent& event) {
        log.tell(event);
        metrics.observe(event);
    };
    return options;
}

StripeWebhookOptions webhook_options(const Settings& settings, const Front& front, Metrics& metrics,
                                     Alerts& alerts) {
    StripeWebhookOptions options;
    options.secrets = settings.stripe_webhook_secrets;
    options.routing.livemode = settings.livemode();
    options.failures_per_second = settings.signature_failures;
    options.is_exempt = [&front](std::string_view address) { return front.is_exempt(address); };
    options.on_answer = [&metrics, &alerts](WebhookOutcome outcome, std::chrono::nanoseconds took) {
        metrics.observe(outcome, took);
        if (outcome == WebhookOutcome::quarantined) alerts.note(steps::TroubleKind::quarantined);
    };
    options.on_conflict = [&alerts] { alerts.note(steps::TroubleKind::conflict); };
    options.on_skew = [&metrics](std::int64_t seconds) { metrics.observe_skew(seconds); };
    return options;
}

void announce(Log& log, const Front& front, const Settings& settings) {
    const auto url =
        fmt::format("{}://{}", settings.tls_cert.empty() ? "http" : "https", front.address());
    fmt::print("workflow-server listening on {}\n", url);
    std::fflush(stdout);
    log.info("listening", {{"url", url}, {"database", settings.database.string()}});
    notify_supervisor("READY=1");
}

void reload_certificate(Log& log, Front& front) {
    try {
        front.reload_tls();
        log.info("TLS certificate read again");
    } catch (const std::runtime_error& error) {
        log.error("the TLS certificate cannot be used; the old one stays",
                  {{"error", error.what()}});
    }
}

void reload_webhook_secrets(Log& log, StripeWebhook& webhook) {
    auto read = reread_webhook_secrets(environment());
    for (const auto& problem : read.problems)
        log.error("the webhook secrets cannot be used; the old ones stay", {{"error", problem}});
    if (!read.problems.empty()) return;
    const auto count = static_cast<std::int64_t>(read.secrets.size());
    webhook.replace_secrets(std::move(read.secrets));
    log.info("webhook secrets read again", {{"secrets", count}});
}

void reload(Log& log, Front& front, StripeWebhook& webhook, const Settings& settings) {
    if (!settings.tls_cert.empty()) reload_certificate(log, front);
    if (settings.webhook_secrets_in_file) reload_webhook_secrets(log, webhook);
    if (settings.tls_cert.empty() && !settings.webhook_secrets_in_file) {
        log.info(
            "nothing to reload: SIGHUP reads TLS_CERT, TLS_KEY and STRIPE_WEBHOOK_SECRET_FILE "
            "again, and none is set");
    }
}

/// Ends orderly. False when a step did not end in time: it is left as by a crash, and resumed as
/// after one.
bool drain(Log& log, Front& front, Engine& engine, const Settings& settings) {
    const Ms grace = std::min(grace_max, settings.lease * 2 / 3);
    log.info("stopping", {{"grace", format_duration(grace)}});
    notify_supervisor("STOPPING=1");
    auto stopped = std::async(std::launch::async, [&] { return engine.stop(grace); });
    front.drain(grace);
    const bool all_ended = stopped.get();
    log.info(all_ended ? "stopped"
                       : "stopped; a step did not end in time and is resumed at the next start");
    return all_ended;
}

}  // namespace

int serve(const Settings& settings, const std::vector<std::string>& warnings) {
    Signals signals;  // first: every thread inherits which signals it leaves to this one
    Log log({.level = settings.log_level,
             .format = settings.log_format,
             .service = settings.traces.service});
    for (const auto& warning : warnings) log.warn(warning);
    const auto on_fatal = [&](const std::string& reason) {
        if (!signals.has_failed())
            log.error("CRITICAL: the store failed; the process ends", {{"error", reason}});
        signals.fail();
    };

    SystemClock clock;
    SystemRandom random;
    Metrics metrics(STEPLOG_VERSION);
    tell_of_lost_commits(log, settings.database);
    const auto store = open_sqlite_store(store_options(settings, metrics, log, on_fatal), clock);
    for (const auto& warning : loose_permissions(settings.database)) log.warn(warning);
    Outside outside(settings, clock);
    std::optional<Traces> traces;
    if (!settings.traces.base.empty())
        traces.emplace(settings.traces, Traces::Surroundings{outside.http, clock, log, metrics});
    Registry registry;
    Alerts* told = nullptr;  // once the engine is there
    EngineDesk desk(settings.database, clock,
                    [&log, &told](const auto& found) { tell(log, *told, found); });
    EngineInbox inbox(settings.database, clock,
                      [&log, &told](const auto& found) { tell(log, *told, found); });
    register_workflows(registry, outside, {desk, inbox}, clock);
    Engine engine(*store, clock, random, std::move(registry),
                  engine_options(settings, log, metrics, traces ? &*traces : nullptr, on_fatal));
    desk.attach(engine);
    inbox.attach(engine);

    FrontLog front_log(log);
    Front front(front_options(settings, front_log, metrics));
    Alerts alerts({.database = settings.database,
                   .keys = settings.encryption_keys,
                   .engine = engine,
                   .clock = clock,
                   .log = log,
                   .paused = [&store] { return store->health() == Store::Health::full; },
                   .waiting_max = settings.alert_waiting},
                  outside.alerts);
    told = &alerts;
    StripeWebhook webhook(engine, clock, log, webhook_options(settings, front, metrics, alerts));
    webhook.add_to(front.routes());
    add_health_routes(front.routes(), *store, engine);
    MetricsRoute metrics_route(
        metrics,
        {.database = settings.database,
         .clock = clock,
         .front = [&front] { return front.stats(); },
         .ready = [&] { return readyz(store->health(), engine.stopping()).status == 200; }});
    metrics_route.add_to(front.routes());
    Admin admin(settings, engine, desk, clock, random, log);
    if (!settings.admin_keys.empty()) admin.add_to(front.routes());
    const ControlServer control(control_socket_path(settings.database),
                                [&](const Json& command, const std::string& actor) {
                                    return handle_command(engine, command, actor);
                                });
    engine.schedule(schedules(settings));
    front.start();  // before the engine: an address that is taken must not cost a step
    engine.start();
    alerts.start();
    const Retention retention(*store, log, settings.retention, settings.database, clock);
    std::optional<Watchdog> watchdog;
    if (const auto interval = watchdog_wanted())
        watchdog.emplace(*interval, [&] { return writer_answers(*store, *interval / 2); });
    announce(log, front, settings);

    auto next = signals.wait();
    while (next == Signals::Kind::reload) {
        reload(log, front, webhook, settings);
        next = signals.wait();
    }
    if (next == Signals::Kind::failed) {
        front.drain(last_answers);
        _exit(exit_io_error);
    }
    const bool all_ended = drain(log, front, engine, settings);
    if (traces) traces->stop(last_spans);
    if (!all_ended) _exit(0);
    return signals.has_failed() ? exit_io_error : 0;
}

}  // namespace steplog::server
