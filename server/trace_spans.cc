// See trace_spans.h.
#include "server/trace_spans.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "engine/context.h"
#include "engine/digest.h"
#include "engine/json_guard.h"
#include "engine/text.h"

namespace steplog::server {
namespace {

constexpr int kind_internal = 1, kind_client = 3;  // opentelemetry/proto/trace/v1, SpanKind
constexpr int status_error = 2;                    // StatusCode
constexpr std::size_t trace_digits = 32, span_digits = 16;

const std::set<std::string_view> ends_an_attempt = {"completed", "adopted", "superseded",
                                                    "retried",   "failed",  "interrupted"};
const std::set<std::string_view> ends_an_instance = {"finished", "instance_failed", "cancelled",
                                                     "stuck"};

std::string root_of(std::string_view instance) {
    return to_hex(sha256(instance)).substr(trace_digits, span_digits);
}

// The epoch grows with every claim: an attempt that is numbered afresh after a resume is another.
std::string id_of(const Transitioned& attempt) {
    return to_hex(sha256(fmt::format("{}\n{}\n{}\n{}", attempt.instance, attempt.step,
                                     attempt.attempt, attempt.epoch)))
        .substr(0, span_digits);
}

// Loops count behind a slash: "check/3".
bool calls_provider(const std::string& workflow, const std::string& step) {
    static const std::set<std::string_view> called_by_reconciliation = {"check", "compare",
                                                                        "endpoints"};
    if (workflow == "provision_customer" || workflow == "tell_people") return true;
    return called_by_reconciliation.contains(step.substr(0, step.find('/')));
}

Json text_attribute(const char* key, std::string_view value) {
    return {{"key", key}, {"value", {{"stringValue", value}}}};
}

Json number_attribute(const char* key, std::int64_t value) {
    return {{"key", key}, {"value", {{"intValue", std::to_string(value)}}}};
}

Json attributes_of(const Span& span) {
    Json all = Json::array({text_attribute("steplog.instance", span.instance),
                            text_attribute("steplog.workflow", span.workflow),
                            text_attribute("steplog.outcome", span.outcome),
                            number_attribute("steplog.epoch", span.epoch)});
    if (!span.step.empty()) all.push_back(text_attribute("steplog.step", span.step));
    if (span.attempt > 0) all.push_back(number_attribute("steplog.attempt", span.attempt));
    if (!span.error_code.empty()) all.push_back(text_attribute("error.type", span.error_code));
    return all;
}

std::string nanoseconds(std::int64_t ms) { return std::to_string(ms) + "000000"; }

Json json_of(const Span& span) {
    Json json = {{"traceId", span.trace_id},
                 {"spanId", span.span_id},
                 {"name", span.name},
                 {"kind", span.calls_provider ? kind_client : kind_internal},
                 {"startTimeUnixNano", nanoseconds(span.begin_ms)},
                 {"endTimeUnixNano", nanoseconds(span.end_ms)},
                 {"attributes", attributes_of(span)},
                 {"status", Json::object()}};
    if (!span.parent_id.empty()) json["parentSpanId"] = span.parent_id;
    if (span.failed) json["status"]["code"] = status_error;
    return json;
}

}  // namespace

std::string trace_id_of(std::string_view instance) {
    return to_hex(sha256(instance)).substr(0, trace_digits);
}

std::optional<Span> span_of(const Transitioned& transitioned, std::int64_t now_ms) {
    const bool is_root = ends_an_instance.contains(transitioned.what);
    const bool is_attempt =
        !transitioned.step.empty() && ends_an_attempt.contains(transitioned.what);
    if (!is_root && !is_attempt) return std::nullopt;
    Span span{.trace_id = trace_id_of(transitioned.instance),
              .span_id = is_root ? root_of(transitioned.instance) : id_of(transitioned),
              .name = is_root ? transitioned.workflow : transitioned.step,
              .failed = transitioned.what == "retried" || transitioned.what == "failed" ||
                        transitioned.what == "stuck" || transitioned.what == "instance_failed",
              .begin_ms = now_ms - std::max<std::int64_t>(0, transitioned.took_ms),
              .end_ms = now_ms,
              .instance = transitioned.instance,
              .workflow = transitioned.workflow,
              .step = transitioned.step,
              .outcome = transitioned.what,
              .error_code = transitioned.error_code,
              .epoch = transitioned.epoch};
    if (is_attempt) {
        span.parent_id = root_of(transitioned.instance);
        span.calls_provider = calls_provider(transitioned.workflow, transitioned.step);
        span.attempt = transitioned.attempt;
    }
    return span;
}

std::string otlp_request(const std::vector<Span>& spans, std::string_view service) {
    Json list = Json::array();
    for (const Span& span : spans) list.push_back(json_of(span));
    const Json resource = {
        {"attributes", Json::array({text_attribute("service.name", service),
                                    text_attribute("service.version", STEPLOG_VERSION)})}};
    const Json scope = {{"name", "steplog"}, {"version", STEPLOG_VERSION}};
    const Json of_scope = {{"scope", scope}, {"spans", std::move(list)}};
    const Json of_resource = {{"resource", resource}, {"scopeSpans", Json::array({of_scope})}};
    const Json request = {{"resourceSpans", Json::array({of_resource})}};
    return request.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::int64_t rejected_spans(std::string_view answer) {
    std::string why_not;
    const auto json = parse_guarded(answer, why_not);
    if (!json || !json->is_object() || !json->contains("partialSuccess")) return 0;
    const Json& partial = (*json)["partialSuccess"];
    if (!partial.is_object() || !partial.contains("rejectedSpans")) return 0;
    const Json& count = partial["rejectedSpans"];  // an int64: a string, by some a number
    constexpr std::int64_t count_max = 1'000'000;
    if (count.is_number_integer()) return std::clamp<std::int64_t>(count, 0, count_max);
    return count.is_string() ? parse_count(count.get<std::string>(), count_max).value_or(0) : 0;
}

}  // namespace steplog::server
