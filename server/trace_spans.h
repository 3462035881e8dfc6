// What an instance does, as spans of a trace (opentelemetry.io, OTLP 1.x): one trace an instance,
// one span an attempt, and the root span when the instance ends or begins to wait for a person. Ids
// are made of the instance's, so that they are the same after every restart. Used by the exporter
// (traces.h) and the log. Pure functions; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace steplog {
struct Transitioned;
}

namespace steplog::server {

/// 32 hex digits: the first half of the SHA-256 of the instance's id.
std::string trace_id_of(std::string_view instance);

/// Holds codes and names only: no payload, no person, no error's text.
struct Span {
    std::string trace_id, span_id;
    std::string parent_id;  // "" for the root span
    std::string name;
    bool calls_provider = false;
    bool failed = false;
    std::int64_t begin_ms = 0, end_ms = 0;
    std::string instance, workflow, step, outcome, error_code;
    int attempt = 0;  // 0 for the root span
    std::int64_t epoch = 0;
};

/// The span that ends with this; nothing for what ends none.
std::optional<Span> span_of(const Transitioned& transitioned, std::int64_t now_ms);

/// An ExportTraceServiceRequest in OTLP's JSON: ids in hex, enumerations as numbers, 64-bit numbers
/// as decimal strings.
std::string otlp_request(const std::vector<Span>& spans, std::string_view service);

/// How many spans a collector's good answer says that it did not take.
std::int64_t rejected_spans(std::string_view answer);

}  // namespace steplog::server
