// Renders log lines and hands them to spdlog; see log.h.
#include "server/log.h"

#include <fmt/format.h>
#include <poll.h>
#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <mutex>

#include "engine/engine.h"
#include "engine/rfc3339.h"
#include "server/trace_spans.h"

namespace steplog::server {
namespace {

constexpr std::size_t field_bytes_max = 2048;

std::string_view to_string(LogLevel level) {
    switch (level) {
        case LogLevel::debug:
            return "debug";
        case LogLevel::info:
            return "info";
        case LogLevel::warn:
            return "warn";
        case LogLevel::error:
            return "error";
    }
    return "error";
}

spdlog::level::level_enum spdlog_level(LogLevel level) {
    switch (level) {
        case LogLevel::debug:
            return spdlog::level::debug;
        case LogLevel::info:
            return spdlog::level::info;
        case LogLevel::warn:
            return spdlog::level::warn;
        case LogLevel::error:
            return spdlog::level::err;
    }
    return spdlog::level::err;
}

std::string now_text() { return format_rfc3339(SystemClock().now_ms()); }

/// A JSON string, in quotes: valid UTF-8, and nothing in it that a terminal would act on.
std::string json_string(std::string_view text) {
    std::string cut(text.substr(0, field_bytes_max));
    if (cut.size() < text.size()) cut += "…(cut)";
    const std::string json =
        Json(std::move(cut)).dump(-1, ' ', false, Json::error_handler_t::replace);
    std::string safe;
    safe.reserve(json.size());
    for (std::size_t i = 0; i < json.size(); ++i) {
        const auto byte = static_cast<unsigned char>(json[i]);
        const auto next = i + 1 < json.size() ? static_cast<unsigned char>(json[i + 1]) : 0;
        if (byte == 0x7f) {
            safe += "\\u007f";
        } else if (byte == 0xc2 && next >= 0x80 &&
                   next < 0xa0) {  // U+0080 to U+009F: control characters too
            safe += fmt::format("\\u{:04x}", next);
            ++i;
        } else {
            safe += json[i];
        }
    }
    return safe;
}

/// A word stands as it is; everything else in quotes.
std::string text_value(const std::string& value) {
    const auto is_plain = [](char c) {
        return c > ' ' && c < 0x7f && c != '"' && c != '=' && c != '\\';
    };
    bool plain = !value.empty() && value.size() <= field_bytes_max;
    for (const char c : value) plain = plain && is_plain(c);
    return plain ? value : json_string(value);
}

// `timestamp`, `level`, `message` and `service` are the names by which log services know them.
std::string as_json(const std::string& service, LogLevel level, std::string_view message,
                    const std::vector<Field>& fields) {
    std::string line =
        fmt::format(R"({{"time":"{0}","timestamp":"{0}","level":"{1}","service":{2},"message":{3})",
                    now_text(), to_string(level), json_string(service), json_string(message));
    for (const auto& field : fields) {
        line += fmt::format(",{}:", json_string(field.name));
        if (const auto* text = std::get_if<std::string>(&field.value)) line += json_string(*text);
        if (const auto* number = std::get_if<std::int64_t>(&field.value))
            line += std::to_string(*number);
        if (const auto* flag = std::get_if<bool>(&field.value)) line += *flag ? "true" : "false";
    }
    return line + "}";
}

std::string as_text(LogLevel level, std::string_view message, const std::vector<Field>& fields) {
    std::string shown = json_string(message);
    shown = shown.substr(1, shown.size() - 2);
    std::string line = fmt::format("{} {:<5} {}", now_text(), to_string(level), shown);
    for (const auto& field : fields) {
        line += fmt::format(" {}=", field.name);
        if (const auto* text = std::get_if<std::string>(&field.value)) line += text_value(*text);
        if (const auto* number = std::get_if<std::int64_t>(&field.value))
            line += std::to_string(*number);
        if (const auto* flag = std::get_if<bool>(&field.value)) line += *flag ? "true" : "false";
    }
    return line;
}

/// Hands whole lines to a function.
class CaptureSink : public spdlog::sinks::base_sink<std::mutex> {
  public:
    explicit CaptureSink(std::function<void(const std::string&)> capture)
        : capture_(std::move(capture)) {}

  protected:
    void sink_it_(const spdlog::details::log_msg& message) override {
        capture_(std::string(message.payload.data(), message.payload.size()));
    }
    void flush_() override {}

  private:
    std::function<void(const std::string&)> capture_;
};

/// Whole lines to a descriptor, written through. Whoever reads them may stop reading; then lines
/// are dropped and counted, because a stuck log must not stop the work, and least the front's one
/// thread.
class DescriptorSink : public spdlog::sinks::base_sink<std::mutex> {
  public:
    using RenderDropped = std::function<std::string(std::int64_t count)>;

    DescriptorSink(int descriptor, RenderDropped render)
        : descriptor_(descriptor), render_(std::move(render)) {}

  protected:
    void sink_it_(const spdlog::details::log_msg& message) override {
        if (!can_write()) {
            ++dropped_;
            return;
        }
        std::string lines = cut_ ? "\n" : "";
        if (dropped_ > 0) lines += render_(dropped_) + "\n";
        lines.append(message.payload.data(), message.payload.size());
        write_all(lines + "\n");
    }
    void flush_() override {}

  private:
    /// Waits a little, but not again while nobody reads.
    bool can_write() {
        pollfd watched{descriptor_, POLLOUT, 0};
        stuck_ = ::poll(&watched, 1, stuck_ ? 0 : patience_ms) == 0;
        return !stuck_;
    }

    void write_all(std::string_view lines) {
        cut_ = true;
        while (!lines.empty()) {
            // A pipe that is ready takes so many bytes without waiting.
            const ssize_t count =
                ::write(descriptor_, lines.data(), std::min<std::size_t>(lines.size(), PIPE_BUF));
            if (count < 0 && errno == EINTR) continue;
            // What is behind it may be a full disk: not the work's problem.
            if (count <= 0) break;
            lines.remove_prefix(static_cast<std::size_t>(count));
            if (!lines.empty() && !can_write()) break;
        }
        cut_ = !lines.empty();
        dropped_ = cut_ ? dropped_ + 1 : 0;
    }

    static constexpr int patience_ms = 100;
    const int descriptor_;
    const RenderDropped render_;
    bool stuck_ = false;
    bool cut_ = false;  // the last line has no end
    std::int64_t dropped_ = 0;
};

spdlog::sink_ptr make_sink(const Log::Options& options) {
    if (options.capture) return std::make_shared<CaptureSink>(options.capture);
    const auto render = [format = options.format, service = options.service](std::int64_t count) {
        constexpr std::string_view message = "log lines dropped: nobody read them";
        return format == LogFormat::json
                   ? as_json(service, LogLevel::warn, message, {{"count", count}})
                   : as_text(LogLevel::warn, message, {{"count", count}});
    };
    return std::make_shared<DescriptorSink>(options.descriptor, render);
}

/// Before these have a result, the customer has paid and has no account.
bool has_no_user_yet(const Transitioned& transitioned) {
    return transitioned.workflow == "provision_customer" &&
           (transitioned.step.empty() || transitioned.step == "fetch_purchase" ||
            transitioned.step == "create_clerk_user");
}

/// The names that go from line to trace and from line to event.
void add_ids(std::vector<Field>& fields, const Transitioned& transitioned, LogFormat format) {
    if (transitioned.workflow.empty()) return;  // a provider, a schedule: no instance
    if (format == LogFormat::json) {
        fields.push_back({"run_id", transitioned.instance});
        const auto event = transitioned.instance.rfind("/evt_");
        if (event != std::string::npos)
            fields.push_back({"event_id", transitioned.instance.substr(event + 1)});
    }
    fields.push_back({"trace_id", trace_id_of(transitioned.instance)});
}

LogLevel level_of(const Transitioned& transitioned) {
    const auto& what = transitioned.what;
    if (what == "stuck") return LogLevel::error;
    if (what == "breaker_opened") return LogLevel::error;
    if (what == "started") return LogLevel::debug;
    const bool needs_a_look = what == "failed" || what == "instance_failed" || what == "retried" ||
                              what == "breaker_opened_again" || what == "near_limit";
    return needs_a_look ? LogLevel::warn : LogLevel::info;
}

}  // namespace

struct Log::Sink {
    explicit Sink(const Options& options) : logger("steplog", make_sink(options)) {
        logger.set_formatter(std::make_unique<spdlog::pattern_formatter>("%v"));
        logger.set_level(spdlog_level(options.level));
        logger.flush_on(spdlog::level::warn);
        // A full disk behind standard error is not the work's problem; the default would print to
        // the same place.
        logger.set_error_handler([](const std::string&) {});
    }
    spdlog::logger logger;
};

Log::Log(Options options) : options_(std::move(options)), sink_(std::make_unique<Sink>(options_)) {}
Log::~Log() = default;

void Log::write(LogLevel level, std::string_view message,
                const std::vector<Field>& fields) noexcept {
    if (level < options_.level) return;
    try {
        const std::string line = options_.format == LogFormat::json
                                     ? as_json(options_.service, level, message, fields)
                                     : as_text(level, message, fields);
        sink_->logger.log(spdlog_level(level), spdlog::string_view_t(line));
    } catch (const std::exception&) {
        // No memory for a log line: the work goes on, and the database remembers what it did.
    }
}

void Log::debug(std::string_view message, const std::vector<Field>& fields) noexcept {
    write(LogLevel::debug, message, fields);
}
void Log::info(std::string_view message, const std::vector<Field>& fields) noexcept {
    write(LogLevel::info, message, fields);
}
void Log::warn(std::string_view message, const std::vector<Field>& fields) noexcept {
    write(LogLevel::warn, message, fields);
}
void Log::error(std::string_view message, const std::vector<Field>& fields) noexcept {
    write(LogLevel::error, message, fields);
}

void log_transition(Log& log, const Transitioned& transitioned) noexcept try {
    std::string message = transitioned.what;
    if (transitioned.what == "stuck") {
        message = has_no_user_yet(transitioned)
                      ? "CRITICAL: USER NOT CREATED: instance is stuck and waits for a person"
                      : "CRITICAL: instance is stuck and waits for a person";
    }
    const bool opened = transitioned.what == "breaker_opened";
    if (opened)
        message = transitioned.error.empty()
                      ? "CRITICAL: a provider is out of order: what needs it is parked"
                      : "CRITICAL: a provider rejects our key: what needs it is parked";
    std::vector<Field> fields = {
        {"instance", transitioned.instance}, {"workflow", transitioned.workflow},
        {"step", transitioned.step},         {"attempt", transitioned.attempt},
        {"epoch", transitioned.epoch},       {"took_ms", transitioned.took_ms}};
    if (!transitioned.error_code.empty()) fields.push_back({"error_code", transitioned.error_code});
    if (!transitioned.error.empty()) fields.push_back({"error", transitioned.error});
    if (transitioned.what == "stuck") {
        fields.push_back({"next", "workflow-inspect show " + transitioned.instance});
    }
    if (opened) fields.push_back({"next", "workflow-inspect stats"});
    add_ids(fields, transitioned, log.format());
    log.write(level_of(transitioned), message, fields);
} catch (const std::exception&) {
    log.error("a transition could not be logged");
}

}  // namespace steplog::server
