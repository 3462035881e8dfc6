// See front_vetting.h. Two passes: lines, which also judges a head that is not complete yet, so
// that an attacker gets his answer at once; then meaning.
#include "server/front_vetting.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include "server/signature.h"

namespace steplog::server {

namespace {

struct Refusal {
    int status;
    std::string_view error;
};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_alphanumeric(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_token_character(char c) {
    return is_alphanumeric(c) ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

bool is_token(std::string_view text) {
    return !text.empty() && std::all_of(text.begin(), text.end(), is_token_character);
}

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string to_lower(std::string_view text) {
    std::string result(text);
    std::transform(result.begin(), result.end(), result.begin(), lower);
    return result;
}

std::string_view trim(std::string_view text) {
    const auto first = text.find_first_not_of(" \t");
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::optional<int> hex_value(char c) {
    if (is_digit(c)) return c - '0';
    const char small = lower(c);
    if (small >= 'a' && small <= 'f') return small - 'a' + 10;
    return std::nullopt;
}

/// Nothing when a '%' is not followed by two hexadecimal digits.
std::optional<std::string> percent_decode(std::string_view text) {
    std::string result;
    result.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            result += text[i];
            continue;
        }
        if (i + 2 >= text.size()) return std::nullopt;
        const auto high = hex_value(text[i + 1]);
        const auto low = hex_value(text[i + 2]);
        if (!high || !low) return std::nullopt;
        result += static_cast<char>(*high * 16 + *low);
        i += 2;
    }
    return result;
}

/// The length of the well-formed UTF-8 sequence that `text` begins with; 0 for none. Overlong
/// forms, surrogates and what lies beyond U+10FFFF are not well-formed.
std::size_t utf8_sequence(std::string_view text) {
    const auto byte = [&](std::size_t i) -> std::uint32_t {
        return static_cast<unsigned char>(text[i]);
    };
    const std::uint32_t lead = byte(0);
    if (lead < 0x80) return 1;
    std::size_t length = 0;
    std::uint32_t least = 0;
    if (lead >= 0xc2 && lead <= 0xdf) {
        length = 2;
        least = 0x80;
    } else if (lead >= 0xe0 && lead <= 0xef) {
        length = 3;
        least = 0x800;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
        length = 4;
        least = 0x10000;
    }
    if (length == 0 || text.size() < length) return 0;
    std::uint32_t code = lead & (0xffu >> (length + 1));
    for (std::size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xc0u) != 0x80) return 0;
        code = (code << 6) | (byte(i) & 0x3fu);
    }
    const bool surrogate = code >= 0xd800 && code <= 0xdfff;
    return code < least || code > 0x10ffff || surrogate ? 0 : length;
}

bool is_clean_text(std::string_view text) {
    while (!text.empty()) {
        if (is_control(text.front())) return false;
        const std::size_t length = utf8_sequence(text);
        if (length == 0) return false;
        text.remove_prefix(length);
    }
    return true;
}

bool has_dot_segment(std::string_view path) {
    while (!path.empty()) {
        path.remove_prefix(1);  // the '/' that every segment begins with
        const std::string_view segment = path.substr(0, path.find('/'));
        if (segment == "." || segment == "..") return true;
        path.remove_prefix(segment.size());
    }
    return false;
}

std::optional<Refusal> judge_target(std::string_view target, std::size_t target_max) {
    if (target.size() > target_max) return Refusal{414, "the path and query are too long"};
    if (target.empty() || target.front() != '/') {
        return Refusal{400, "the request target must be a path that begins with '/'"};
    }
    constexpr std::string_view punctuation = "-._~!$&'()*+,;=:@/?%";
    const bool plain = std::all_of(target.begin(), target.end(), [&](char c) {
        return is_alphanumeric(c) || punctuation.find(c) != std::string_view::npos;
    });
    if (!plain)
        return Refusal{400, "the request target holds a character that must be percent-encoded"};
    const std::size_t question_mark = target.find('?');
    const auto path = percent_decode(target.substr(0, question_mark));
    const auto query = percent_decode(
        question_mark == std::string_view::npos ? "" : target.substr(question_mark + 1));
    if (!path || !query)
        return Refusal{400, "'%' in the request target must be followed by two hexadecimal digits"};
    if (!is_clean_text(*path) || !is_clean_text(*query)) {
        return Refusal{400, "the request target must decode to UTF-8 without control characters"};
    }
    if (has_dot_segment(*path)) return Refusal{400, "the path must not hold '.' or '..' segments"};
    return std::nullopt;
}

struct RequestLine {
    std::string_view method, target;
    bool version_1_1 = false;
};

std::optional<Refusal> judge_version(std::string_view version, bool& version_1_1) {
    const bool well_formed = version.size() == 8 && version.substr(0, 5) == "HTTP/" &&
                             is_digit(version[5]) && version[6] == '.' && is_digit(version[7]);
    if (!well_formed) {
        return Refusal{400,
                       "the request line must be METHOD, PATH and HTTP/1.1, one space between"};
    }
    version_1_1 = version == "HTTP/1.1";
    if (!version_1_1 && version != "HTTP/1.0") return Refusal{505, "this server speaks HTTP/1.1"};
    return std::nullopt;
}

std::optional<Refusal> judge_request_line(std::string_view line, const VettingLimits& limits,
                                          RequestLine& result) {
    const std::size_t first = line.find(' ');
    const std::size_t last = line.rfind(' ');
    if (first == std::string_view::npos || first == last || !is_token(line.substr(0, first))) {
        return Refusal{400,
                       "the request line must be METHOD, PATH and HTTP/1.1, one space between"};
    }
    result.method = line.substr(0, first);
    result.target = line.substr(first + 1, last - first - 1);
    if (auto refusal = judge_version(line.substr(last + 1), result.version_1_1)) return refusal;
    if (result.method != "GET" && result.method != "HEAD" && result.method != "POST") {
        return Refusal{405, "this method is not supported; use GET, HEAD or POST"};
    }
    return judge_target(result.target, limits.target_max);
}

// ---- first pass: lines ----

struct Lines {
    std::string_view request_line;
    std::vector<std::string_view> headers;
    std::size_t line_begins = 0;  // the last one's, complete or not
    std::size_t head_bytes = 0;   // 0: not complete yet
};

Refusal too_long(std::string_view line, bool in_request_line) {
    if (in_request_line) return {414, "the request line is too long"};
    // A signature is refused in one and the same way, whatever is wrong with it.
    constexpr std::string_view signature = "stripe-signature:";
    if (to_lower(line.substr(0, signature.size())) == signature) return {400, bad_signature};
    return {431, "a header line is too long"};
}

/// Nothing: the line may be as it is (or is not complete yet, then `end` is npos).
std::optional<Refusal> judge_line(std::string_view rest, bool in_request_line, std::size_t line_max,
                                  std::size_t& end) {
    end = std::string_view::npos;
    const std::size_t scanned = std::min(rest.size(), line_max + 2);
    for (std::size_t i = 0; i < scanned; ++i) {
        const char c = rest[i];
        if (!is_control(c) || (c == '\t' && !in_request_line)) continue;
        if (c == '\n') return Refusal{400, "lines must end with CR LF"};
        if (c != '\r')
            return Refusal{400, "control characters are not allowed in the request's head"};
        if (i + 1 == rest.size()) return std::nullopt;
        if (rest[i + 1] != '\n') return Refusal{400, "lines must end with CR LF"};
        if (i > line_max) break;
        end = i;
        return std::nullopt;
    }
    if (scanned > line_max) return too_long(rest, in_request_line);
    return std::nullopt;
}

std::optional<Refusal> split_lines(std::string_view bytes, const VettingLimits& limits,
                                   Lines& lines, RequestLine& request_line) {
    if (!bytes.empty() && bytes.front() == 0x16) {
        return Refusal{400, "this port speaks plain HTTP, not TLS"};
    }
    const std::string_view head = bytes.substr(0, limits.header_bytes_max);
    std::size_t at = 0;
    for (bool first = true;; first = false) {
        std::size_t end = 0;
        lines.line_begins = at;
        if (auto refusal = judge_line(head.substr(at), first, limits.line_max, end)) return refusal;
        if (end == std::string_view::npos) {
            if (bytes.size() < limits.header_bytes_max) return std::nullopt;
            return first ? too_long(head, true) : Refusal{431, "the headers are too large"};
        }
        const std::string_view line = head.substr(at, end);
        at += end + 2;
        if (first) {
            lines.request_line = line;
            if (auto refusal = judge_request_line(line, limits, request_line)) return refusal;
        } else if (line.empty()) {
            lines.head_bytes = at;
            return std::nullopt;
        } else if (lines.headers.size() == limits.header_lines_max) {
            return Refusal{431, "there are too many headers"};
        } else {
            lines.headers.push_back(line);
        }
    }
}

// ---- second pass: meaning ----

/// What the headers said, until all of them are known.
struct Meaning {
    int hosts = 0, content_lengths = 0, authorizations = 0, content_types = 0;
    bool json = false;
    bool closes = false;
    bool transfer_encoding = false, content_encoding = false;
    std::optional<Refusal> length_refusal;
    std::optional<std::string> expect;
};

bool is_forwarded(std::string_view name) {
    constexpr std::array<std::string_view, 13> names = {"host",
                                                        "content-type",
                                                        "content-length",
                                                        "stripe-signature",
                                                        "authorization",
                                                        "origin",
                                                        "cookie",
                                                        "user-agent",
                                                        "accept",
                                                        "sec-fetch-site",
                                                        "x-steplog-csrf",
                                                        "x-forwarded-for",
                                                        "x-forwarded-proto"};
    return std::find(names.begin(), names.end(), name) != names.end() ||
           name.substr(0, 5) == "svix-" || name.substr(0, 8) == "webhook-";
}

bool may_repeat(std::string_view name) {
    return name == "cookie" || name == "accept" || name == "x-forwarded-for" ||
           name == "x-forwarded-proto" || name == "authorization" || name == "stripe-signature";
}

bool is_json_type(std::string_view value) {
    return to_lower(trim(value.substr(0, value.find(';')))) == "application/json";
}

bool has_list_item(std::string_view value, std::string_view wanted) {
    while (!value.empty()) {
        const std::size_t comma = value.find(',');
        if (to_lower(trim(value.substr(0, comma))) == wanted) return true;
        if (comma == std::string_view::npos) return false;
        value.remove_prefix(comma + 1);
    }
    return false;
}

std::optional<Refusal> judge_host(std::string_view value) {
    const bool plain = !value.empty() && std::all_of(value.begin(), value.end(), [](char c) {
        return is_alphanumeric(c) || std::string_view(".-_:[]").find(c) != std::string_view::npos;
    });
    if (!plain) return Refusal{400, "the Host header must be a host name, with or without a port"};
    return std::nullopt;
}

std::optional<Refusal> read_content_length(std::string_view value, std::size_t& length) {
    if (value.empty() || !std::all_of(value.begin(), value.end(), is_digit)) {
        return Refusal{400, "Content-Length must be a decimal number"};
    }
    length = 0;
    for (const char c : value) {
        if (length > 99'999'999'999'999'999u) return Refusal{413, "the body is too large"};
        length = length * 10 + static_cast<std::size_t>(c - '0');
    }
    return std::nullopt;
}

std::optional<Refusal> understand(const std::string& name, std::string_view value, Meaning& meaning,
                                  VettedRequest& request) {
    if (name == "host") {
        ++meaning.hosts;
        return judge_host(value);
    }
    if (name == "content-length") {
        ++meaning.content_lengths;
        meaning.length_refusal = read_content_length(value, request.content_length);
    } else if (name == "transfer-encoding") {
        meaning.transfer_encoding = true;
    } else if (name == "content-encoding") {
        meaning.content_encoding = meaning.content_encoding || to_lower(value) != "identity";
    } else if (name == "content-type") {
        ++meaning.content_types;
        meaning.json = is_json_type(value);
    } else if (name == "authorization") {
        ++meaning.authorizations;
    } else if (name == "expect") {
        meaning.expect = meaning.expect ? "" : to_lower(value);
    } else if (name == "upgrade") {
        meaning.closes = true;
    } else if (name == "connection") {
        meaning.closes =
            meaning.closes || has_list_item(value, "close") || has_list_item(value, "upgrade");
    }
    return std::nullopt;
}

std::optional<Refusal> read_headers(const Lines& lines, Meaning& meaning, VettedRequest& request) {
    for (const std::string_view line : lines.headers) {
        if (line.front() == ' ' || line.front() == '\t') {
            return Refusal{400, "a header must stand on one line"};
        }
        const std::size_t colon = line.find(':');
        if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) {
            return Refusal{400, "a header must be NAME: VALUE, with no space before the colon"};
        }
        const std::string name = to_lower(line.substr(0, colon));
        const std::string_view value = trim(line.substr(colon + 1));
        if (auto refusal = understand(name, value, meaning, request)) return refusal;
        if (!is_forwarded(name)) continue;
        const auto same = [&](const auto& header) { return header.first == name; };
        if (!may_repeat(name) &&
            std::any_of(request.headers.begin(), request.headers.end(), same)) {
            return Refusal{400, "a header that must stand alone is repeated"};
        }
        request.headers.emplace_back(name, value);
    }
    return std::nullopt;
}

void mark_ambiguous_authorization(VettedRequest& request) {
    auto& headers = request.headers;
    headers.erase(
        std::remove_if(headers.begin(), headers.end(),
                       [](const auto& header) { return header.first == "authorization"; }),
        headers.end());
    headers.emplace_back("authorization", "ambiguous");
}

std::optional<Refusal> judge_body(const Meaning& meaning, const VettedRequest& request,
                                  std::size_t body_max) {
    if (meaning.transfer_encoding) {
        return Refusal{501, "Transfer-Encoding is not supported; send Content-Length"};
    }
    if (meaning.length_refusal) return meaning.length_refusal;
    if (request.method != "POST") {
        if (request.content_length == 0) return std::nullopt;
        return Refusal{400, "only a POST may have a body"};
    }
    if (meaning.content_lengths == 0) {
        return Refusal{411, "a POST needs a Content-Length, 0 for no body"};
    }
    if (request.content_length > body_max) return Refusal{413, "the body is too large"};
    if (meaning.content_encoding) {
        return Refusal{415, "Content-Encoding is not supported; send the body as it is"};
    }
    const bool wants_type = request.content_length > 0 || meaning.content_types > 0;
    if (wants_type && !meaning.json) {
        return Refusal{415, "the body must be JSON, with Content-Type: application/json"};
    }
    return std::nullopt;
}

std::optional<Refusal> judge_meaning(const RequestLine& line, const Lines& lines,
                                     const VettingLimits& limits, VettedRequest& request) {
    Meaning meaning;
    request.method = line.method;
    request.target = line.target;
    if (auto refusal = read_headers(lines, meaning, request)) return refusal;
    if (line.version_1_1 && meaning.hosts == 0) return Refusal{400, "the Host header is missing"};
    if (auto refusal = judge_body(meaning, request, limits.body_max)) return refusal;
    if (meaning.expect && *meaning.expect != "100-continue") {
        return Refusal{417, "only Expect: 100-continue is supported"};
    }
    if (meaning.authorizations > 1) mark_ambiguous_authorization(request);
    // HTTP/1.0 has no interim answers and no keep-alive that all agree on.
    request.expects_continue = meaning.expect && line.version_1_1;
    request.keep_alive = line.version_1_1 && !meaning.closes;
    return std::nullopt;
}

Verdict refused(const Refusal& refusal, const RequestLine& line) {
    Verdict verdict;
    verdict.head_only = line.method == "HEAD";
    verdict.kind = Verdict::Kind::refused;
    verdict.status = refusal.status;
    verdict.error = refusal.error;
    return verdict;
}

}  // namespace

Verdict vet(std::string_view bytes, const VettingLimits& limits) {
    Lines lines;
    RequestLine request_line;
    if (auto refusal = split_lines(bytes, limits, lines, request_line)) {
        return refused(*refusal, request_line);
    }
    Verdict verdict;
    verdict.line_begins = lines.line_begins;
    if (lines.head_bytes == 0) return verdict;
    if (auto refusal = judge_meaning(request_line, lines, limits, verdict.request)) {
        return refused(*refusal, request_line);
    }
    verdict.kind = Verdict::Kind::accepted;
    verdict.head_bytes = lines.head_bytes;
    return verdict;
}

bool is_still_incomplete(std::string_view bytes, std::size_t vetted, std::size_t line_begins,
                         const VettingLimits& limits) {
    if (vetted == 0 || bytes[vetted - 1] == '\r') return false;
    if (bytes.size() >= limits.header_bytes_max || bytes.size() - line_begins > limits.line_max)
        return false;
    const std::string_view fresh = bytes.substr(vetted);
    return std::none_of(fresh.begin(), fresh.end(), is_control);
}

}  // namespace steplog::server
