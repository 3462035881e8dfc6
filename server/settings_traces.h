// The settings of the traces, named as opentelemetry.io/docs/specs/otel/protocol/exporter has them.
// Used while the settings are read.
#pragma once

#include "server/settings.h"
#include "server/settings_reader.h"

namespace steplog::server {

/// Notes what is wrong as the reader's problems.
TraceSettings read_trace_settings(SettingsReader& reader);

/// For describe(). Of a whole URL only the host, because there may be a token in the rest.
std::vector<std::string> describe_traces(const TraceSettings& settings);

}  // namespace steplog::server
