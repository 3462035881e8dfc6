// See http_reply_frame.h. Rules of RFC 9112, on the strict side wherever it leaves a choice.
#include "steps/http_reply_frame.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "steps/http_text.h"

namespace steplog::steps {

namespace {

constexpr std::size_t head_max = 64 * 1024;
constexpr std::size_t headers_max = 128;
constexpr std::size_t header_line_max = 8190;  // cpp-httplib gives up at 8192 with CR LF
constexpr std::size_t chunk_line_max = 256;
constexpr std::string_view line_end = "\r\n";
constexpr std::string_view head_end = "\r\n\r\n";

[[noreturn]] void unparsable(std::string_view what) {
    throw ReplyFault("unparsable_reply", fmt::format("the reply {}", what));
}

[[noreturn]] void oversized(std::string_view what) {
    throw ReplyFault("oversized_reply", fmt::format("the reply {}", what));
}

std::string_view trimmed(std::string_view text) {
    const std::size_t first = text.find_first_not_of(" \t");
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

/// All values of one header, and at most one is acceptable: two could be read two ways.
std::optional<std::string> only_value(const Headers& headers, std::string_view name) {
    std::optional<std::string> found;
    for (const auto& [key, value] : headers) {
        if (lower_case(key) != name) continue;
        if (found) unparsable(fmt::format("has two {} headers", name));
        found = value;
    }
    return found;
}

}  // namespace

std::string ReplyFrame::take(std::string_view arrived) {
    std::string passed;
    while (!arrived.empty() && part_ != Part::whole) {
        switch (part_) {
            case Part::head:
                take_head(arrived, passed);
                break;
            case Part::counted:
                take_data(arrived, passed, Part::whole);
                break;
            case Part::chunk_data:
                take_data(arrived, passed, Part::chunk_end);
                break;
            case Part::chunk_size:
            case Part::chunk_end:
            case Part::last_end:
                take_line(arrived, passed);
                break;
            case Part::whole:
                break;
        }
    }
    return passed;
}

void ReplyFrame::end() const {
    if (part_ == Part::whole) return;
    if (part_ != Part::head) {
        throw ReplyFault("cut_reply", "the reply was cut before its declared end");
    }
    if (!line_.empty()) throw ReplyFault("cut_reply", "the reply was cut in its head");
    if (interim_seen_) {
        throw ReplyFault("interim_reply", "an interim reply (1xx) came and no final one");
    }
    throw ReplyFault("reset", "the connection was closed without a reply");
}

void ReplyFrame::take_head(std::string_view& arrived, std::string& passed) {
    constexpr std::string_view beginning = "HTTP/1.";
    const std::size_t known = line_.size();
    line_ += arrived;
    const std::size_t common = std::min(line_.size(), beginning.size());
    if (std::string_view(line_).substr(0, common) != beginning.substr(0, common)) {
        unparsable("is not HTTP/1");
    }
    const std::size_t found = line_.find(head_end, known < head_end.size() ? 0 : known - 3);
    const std::size_t size = found == std::string::npos ? line_.size() : found + head_end.size();
    if (head_bytes_ + size > head_max) oversized("has a head of more than 64 KiB");
    if (found == std::string::npos) {
        arrived = {};
        return;
    }
    arrived.remove_prefix(size - known);
    line_.resize(size);
    head_bytes_ += size;
    const std::string head = std::exchange(line_, {});
    read_head(head);
    if (status_ >= 200) {
        passed += head;
        begin_body();
    } else if (status_ == 101) {
        throw ReplyFault("interim_reply", "the reply changes the protocol (101)");
    } else {
        interim_seen_ = true;
    }
}

void ReplyFrame::read_head(std::string_view head) {
    headers_.clear();
    const std::size_t first_end = head.find(line_end);
    const std::string_view first = head.substr(0, first_end);
    // "HTTP/1.1 200 OK": the reason, and the space before it, may be missing.
    const bool well_formed = first.size() >= 12 && (first[7] == '0' || first[7] == '1') &&
                             first[8] == ' ' && is_digit(first[9]) && is_digit(first[10]) &&
                             is_digit(first[11]) && (first.size() == 12 || first[12] == ' ') &&
                             first.size() <= header_line_max &&
                             std::none_of(first.begin(), first.end(), is_control);
    if (!well_formed) unparsable("has a malformed status line");
    status_ = (first[9] - '0') * 100 + (first[10] - '0') * 10 + (first[11] - '0');
    if (status_ < 100 || status_ > 599) unparsable("has a status outside 100 to 599");

    std::string_view rest = head.substr(first_end + line_end.size());
    while (rest != line_end) {
        const std::size_t end = rest.find(line_end);
        read_header(rest.substr(0, end));
        rest.remove_prefix(end + line_end.size());
    }
}

void ReplyFrame::read_header(std::string_view line) {
    if (line.size() > header_line_max) oversized("has a header line of more than 8 KiB");
    if (headers_.size() == headers_max) oversized("has more than 128 headers");
    const std::size_t colon = line.find(':');
    const std::string_view name = line.substr(0, std::min(colon, line.size()));
    if (colon == std::string_view::npos || !is_header_name(name) ||
        std::any_of(line.begin(), line.end(), is_control)) {
        unparsable("has a malformed header");
    }
    headers_.emplace_back(name, trimmed(line.substr(colon + 1)));
}

void ReplyFrame::begin_body() {
    constexpr std::size_t length_digits_max = 18;
    const auto length = only_value(headers_, "content-length");
    const auto coding = only_value(headers_, "transfer-encoding");
    const auto compression = only_value(headers_, "content-encoding");
    if (length && coding) unparsable("declares its length in two ways");
    if (compression && lower_case(*compression) != "identity" && !compression->empty()) {
        unparsable("is compressed although that was not asked for");
    }
    if (status_ == 204 || status_ == 304) {
        part_ = Part::whole;
    } else if (coding) {
        if (lower_case(*coding) != "chunked") unparsable("has an unknown transfer coding");
        part_ = Part::chunk_size;
    } else if (length) {
        if (length->empty() || length->size() > length_digits_max ||
            !std::all_of(length->begin(), length->end(), is_digit)) {
            unparsable("has a Content-Length that is not a number");
        }
        std::from_chars(length->data(), length->data() + length->size(), left_);
        if (left_ > body_max_) oversized(fmt::format("has more than {} bytes", body_max_));
        part_ = left_ == 0 ? Part::whole : Part::counted;
    } else {
        throw ReplyFault("cut_reply",
                         "the reply does not declare its length, so that a cut could not be seen");
    }
}

void ReplyFrame::take_data(std::string_view& arrived, std::string& passed, Part next) {
    const std::size_t size =
        static_cast<std::size_t>(std::min<std::uint64_t>(left_, arrived.size()));
    passed += arrived.substr(0, size);
    arrived.remove_prefix(size);
    left_ -= size;
    if (left_ == 0) part_ = next;
}

void ReplyFrame::take_line(std::string_view& arrived, std::string& passed) {
    const std::size_t found = arrived.find('\n');
    const std::size_t size = found == std::string_view::npos ? arrived.size() : found + 1;
    line_ += arrived.substr(0, size);
    arrived.remove_prefix(size);
    if (line_.size() > chunk_line_max) unparsable("has a chunk without an end of line");
    if (found == std::string_view::npos) return;
    read_chunk_line();
    passed += std::exchange(line_, {});
}

void ReplyFrame::read_chunk_line() {
    constexpr std::ptrdiff_t size_digits_max = 15;
    if (part_ == Part::chunk_end || part_ == Part::last_end) {
        if (line_ != line_end)
            unparsable("has a chunk that does not end where it said, or trailers");
        part_ = part_ == Part::chunk_end ? Part::chunk_size : Part::whole;
        return;
    }
    if (!line_.ends_with(line_end)) unparsable("has a malformed chunk size");
    const char* const text_end = line_.data() + line_.size() - line_end.size();
    const auto [end, error] = std::from_chars(line_.data(), text_end, left_, 16);
    const std::string_view rest(end, static_cast<std::size_t>(text_end - end));
    const bool extension =
        rest.starts_with(';') && std::none_of(rest.begin(), rest.end(), is_control);
    if (error != std::errc{} || end - line_.data() > size_digits_max ||
        (!extension && !trimmed(rest).empty())) {
        unparsable("has a malformed chunk size");
    }
    if (left_ > body_max_ - body_bytes_)
        oversized(fmt::format("has more than {} bytes", body_max_));
    body_bytes_ += left_;
    part_ = left_ == 0 ? Part::last_end : Part::chunk_data;
}

}  // namespace steplog::steps
