// Which request a fault strikes, and faults as JSON. Used by the Sandbox and its control API.
#include "tools/sandbox/faults.h"

#include <fmt/format.h>

#include <array>
#include <stdexcept>

namespace steplog::sandbox {
namespace {

constexpr std::array<std::pair<FaultKind, std::string_view>, 13> kinds = {{
    {FaultKind::down, "down"},
    {FaultKind::slow, "slow"},
    {FaultKind::hang, "hang"},
    {FaultKind::status, "status"},
    {FaultKind::rate_limited, "rate_limited"},
    {FaultKind::unauthorized, "unauthorized"},
    {FaultKind::reset, "reset"},
    {FaultKind::lost_answer, "lost_answer"},
    {FaultKind::truncated, "truncated"},
    {FaultKind::garbage, "garbage"},
    {FaultKind::interim, "interim"},
    {FaultKind::interim_only, "interim_only"},
    {FaultKind::oversized, "oversized"},
}};

bool glob(std::string_view pattern, std::string_view text) {
    std::size_t p = 0, t = 0, star = std::string_view::npos, resume = 0;
    while (t < text.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            resume = t;
        } else if (p < pattern.size() && pattern[p] == text[t]) {
            ++p;
            ++t;
        } else if (star != std::string_view::npos) {
            p = star + 1;
            t = ++resume;
        } else {
            return false;
        }
    }
    while (p < pattern.size() && pattern[p] == '*') ++p;
    return p == pattern.size();
}

int int_field(const std::string& key, const Json& value, int low, int high) {
    if (!value.is_number_integer()) {
        throw std::invalid_argument(fmt::format("\"{}\" must be a whole number", key));
    }
    const auto number = value.get<std::int64_t>();
    if (number < low || number > high) {
        throw std::invalid_argument(fmt::format("\"{}\" must lie in {}..{}", key, low, high));
    }
    return static_cast<int>(number);
}

bool bool_field(const std::string& key, const Json& value) {
    if (!value.is_boolean()) {
        throw std::invalid_argument(fmt::format("\"{}\" must be true or false", key));
    }
    return value.get<bool>();
}

std::string text_field(const std::string& key, const Json& value) {
    if (!value.is_string()) throw std::invalid_argument(fmt::format("\"{}\" must be text", key));
    return value.get<std::string>();
}

}  // namespace

std::string_view to_string(FaultKind kind) {
    for (const auto& [value, name] : kinds) {
        if (value == kind) return name;
    }
    return "status";
}

std::optional<FaultKind> parse_fault_kind(std::string_view text) {
    for (const auto& [value, name] : kinds) {
        if (name == text) return value;
    }
    return std::nullopt;
}

bool Fault::has_effect() const {
    if (effect) return *effect;
    switch (kind) {
        case FaultKind::slow:
        case FaultKind::lost_answer:
        case FaultKind::truncated:
        case FaultKind::interim:
        case FaultKind::interim_only:
        case FaultKind::oversized:
            return true;
        default:
            return false;
    }
}

Fault fault_from_json(const Json& json) {
    if (!json.is_object()) throw std::invalid_argument("a fault is a JSON object");
    Fault fault;
    bool has_kind = false;
    for (const auto& [key, value] : json.items()) {
        if (key == "kind") {
            const auto kind = parse_fault_kind(text_field(key, value));
            if (!kind) {
                std::string names;
                for (const auto& pair : kinds) names += fmt::format(" {}", pair.second);
                throw std::invalid_argument("\"kind\" must be one of:" + names);
            }
            fault.kind = *kind;
            has_kind = true;
        } else if (key == "provider") {
            const std::string name = text_field(key, value);
            fault.provider = parse_provider(name);
            if (!fault.provider && name != "*") {
                throw std::invalid_argument("\"provider\" must be stripe, clerk, resend or *");
            }
        } else if (key == "route") {
            fault.route = text_field(key, value);
        } else if (key == "times") {
            fault.times = value.is_null() ? Fault::until_cleared
                                          : int_field(key, value, 1, Fault::until_cleared);
        } else if (key == "per_mille") {
            fault.per_mille = int_field(key, value, 0, 1000);
        } else if (key == "status") {
            fault.status = int_field(key, value, 200, 599);
        } else if (key == "remembered") {
            fault.remembered = bool_field(key, value);
        } else if (key == "effect") {
            if (!value.is_null()) fault.effect = bool_field(key, value);
        } else if (key == "delay_ms") {
            fault.delay = Ms(int_field(key, value, 0, 3'600'000));
        } else if (key == "retry_after_s") {
            if (!value.is_null()) fault.retry_after_s = int_field(key, value, 0, 86'400);
        } else if (key == "headers") {
            if (!value.is_object()) throw std::invalid_argument("\"headers\" must be an object");
            for (const auto& [name, text] : value.items()) {
                fault.headers[name] = text_field(name, text);
            }
        } else {
            throw std::invalid_argument(
                fmt::format("unknown field \"{}\": a fault has kind, provider, route, times, "
                            "per_mille, status, "
                            "remembered, effect, delay_ms, retry_after_s, headers",
                            key));
        }
    }
    if (!has_kind) throw std::invalid_argument("\"kind\" is missing");
    return fault;
}

Json to_json(const Fault& fault) {
    return {{"kind", to_string(fault.kind)},
            {"provider", fault.provider ? Json(to_string(*fault.provider)) : Json("*")},
            {"route", fault.route},
            {"times", fault.times == Fault::until_cleared ? Json() : Json(fault.times)},
            {"per_mille", fault.per_mille},
            {"status", fault.status},
            {"remembered", fault.remembered},
            {"effect", fault.has_effect()},
            {"delay_ms", fault.delay.count()},
            {"retry_after_s", fault.retry_after_s ? Json(*fault.retry_after_s) : Json()},
            {"headers", fault.headers}};
}

void FaultPlan::clear(std::optional<Provider> provider) {
    std::erase_if(faults_,
                  [&](const Fault& fault) { return !provider || fault.provider == provider; });
}

std::optional<Fault> FaultPlan::strike(Provider provider, const Call& call, IdSource& random) {
    for (auto fault = faults_.begin(); fault != faults_.end(); ++fault) {
        if (fault->provider && *fault->provider != provider) continue;
        if (!route_matches(fault->route, call.method, call.path)) continue;
        if (fault->per_mille < 1000 &&
            static_cast<int>(random.next_random() % 1000) >= fault->per_mille) {
            continue;
        }
        Fault struck = *fault;
        if (fault->times != Fault::until_cleared && --fault->times == 0) faults_.erase(fault);
        return struck;
    }
    return std::nullopt;
}

bool FaultPlan::is_down(Provider provider) const {
    for (const Fault& fault : faults_) {
        if (fault.kind == FaultKind::down && fault.route.empty() && fault.per_mille == 1000 &&
            fault.times == Fault::until_cleared &&
            (!fault.provider || *fault.provider == provider)) {
            return true;
        }
    }
    return false;
}

bool route_matches(std::string_view pattern, std::string_view method, std::string_view path) {
    if (pattern.empty()) return true;
    if (pattern.find(' ') == std::string_view::npos) return glob(pattern, path);
    return glob(pattern, fmt::format("{} {}", method, path));
}

}  // namespace steplog::sandbox
