// Throws bytes at the front's vetting and checks what must hold of every verdict, whatever the
// bytes. libFuzzer's entry; seeds in tests/data/front/. The first byte says where the rest is cut
// in two, as a network would.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "server/front_vetting.h"

namespace {

using steplog::server::Verdict;
using steplog::server::vet;
using Kind = steplog::server::Verdict::Kind;

// Small limits are reached by small inputs.
constexpr steplog::server::VettingLimits limits{.header_bytes_max = 512,
                                                .header_lines_max = 8,
                                                .line_max = 200,
                                                .target_max = 64,
                                                .body_max = 1000};

void hold(bool promise) {
    if (!promise) std::abort();
}

bool has_control(std::string_view text) {
    return std::any_of(text.begin(), text.end(), [](char c) {
        return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f;
    });
}

void check_accepted(std::string_view bytes, const Verdict& verdict) {
    hold(verdict.head_bytes <= bytes.size() && verdict.head_bytes <= limits.header_bytes_max);
    const std::string_view head = bytes.substr(0, verdict.head_bytes);
    hold(head.find("\r\n\r\n") == head.size() - 4);
    const auto& request = verdict.request;
    hold(request.method == "GET" || request.method == "HEAD" || request.method == "POST");
    hold(request.target.front() == '/' && request.target.size() <= limits.target_max &&
         !has_control(request.target));
    hold(request.target.find(' ') == std::string_view::npos);
    hold(request.content_length <= limits.body_max);
    hold(request.content_length == 0 || request.method == "POST");
    hold(request.headers.size() <= limits.header_lines_max);
    for (const auto& [name, value] : request.headers) {
        hold(!name.empty() && !has_control(value) &&
             name.find_first_of("_ :\t") == std::string_view::npos);
        hold(name != "transfer-encoding" && name != "range" && name != "connection");
    }
}

void check(std::string_view bytes, const Verdict& verdict) {
    constexpr std::array<int, 11> statuses = {400, 405, 411, 413, 414, 415, 417, 431, 501, 505, 0};
    switch (verdict.kind) {
        case Kind::incomplete:
            hold(bytes.size() < limits.header_bytes_max);
            break;
        case Kind::refused:
            hold(std::find(statuses.begin(), statuses.end() - 1, verdict.status) !=
                 statuses.end() - 1);
            hold(!verdict.error.empty());
            break;
        case Kind::accepted:
            check_accepted(bytes, verdict);
            break;
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
    const std::string_view beginning = bytes.substr(0, bytes.size() * data[0] / 255);
    const Verdict whole = vet(bytes, limits);
    const Verdict early = vet(beginning, limits);
    check(bytes, whole);
    check(beginning, early);
    // More bytes never turn a refusal into something else, nor an accepted head into another one.
    if (early.kind == Kind::refused) hold(whole.kind == Kind::refused);
    if (early.kind == Kind::accepted) {
        hold(whole.kind == Kind::accepted && whole.head_bytes == early.head_bytes &&
             whole.request.headers == early.request.headers);
    }
    if (early.kind == Kind::incomplete &&
        is_still_incomplete(bytes, beginning.size(), early.line_begins, limits)) {
        hold(whole.kind == Kind::incomplete);
    }
    if (whole.kind == Kind::accepted && beginning.size() < whole.head_bytes)
        hold(early.kind == Kind::incomplete);
    return 0;
}
