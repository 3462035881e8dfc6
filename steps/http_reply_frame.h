// Decides where a provider's reply begins and ends, before a library that is lenient about it sees
// a byte: cpp-httplib 0.11.4 takes a reply without a length that is cut, or a chunk with a broken
// end, for a whole one, and reads header lines without end. Pure: no socket, no clock; one thread.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

#include "steps/http.h"

namespace steplog::steps {

/// Why a reply cannot be used; `code` as in RetryableError.
class ReplyFault : public std::runtime_error {
  public:
    ReplyFault(std::string code, const std::string& text)
        : std::runtime_error(text), code_(std::move(code)) {}
    const std::string& code() const { return code_; }

  private:
    std::string code_;
};

class ReplyFrame {
  public:
    /// Limits of a head: 64 KiB with all interim replies before it, 128 lines, 8 KiB a line.
    explicit ReplyFrame(std::size_t body_max) : body_max_(body_max) {}

    /// Takes what arrived and returns what of it belongs to the final reply, head included, exactly
    /// as it arrived; interim replies (1xx) and what follows the reply are left out. Throws
    /// ReplyFault: oversized_reply, interim_reply (101), cut_reply (no length declared, so its end
    /// could not be told from a cut), unparsable_reply.
    std::string take(std::string_view arrived);

    /// Throws ReplyFault unless the reply is whole: reset (nothing came), interim_reply, cut_reply.
    void end() const;

    bool is_whole() const { return part_ == Part::whole; }

    /// Of the final reply's head, undecoded, in the order received.
    const Headers& headers() const { return headers_; }

  private:
    enum class Part {
        head,
        counted,     // the body, by Content-Length
        chunk_size,  // its line
        chunk_data,
        chunk_end,  // CR LF after the data
        last_end,   // CR LF after the chunk of size 0
        whole
    };

    void take_head(std::string_view& arrived, std::string& passed);
    void read_head(std::string_view head);
    void read_header(std::string_view line);
    void begin_body();
    void take_data(std::string_view& arrived, std::string& passed, Part next);
    void take_line(std::string_view& arrived, std::string& passed);
    void read_chunk_line();

    const std::size_t body_max_;
    Part part_ = Part::head;
    std::size_t head_bytes_ = 0;  // of all heads so far
    std::string line_;            // the head, or the chunk's line, as far as it has arrived
    bool interim_seen_ = false;
    int status_ = 0;
    Headers headers_;
    std::uint64_t left_ = 0;        // of the counted body, or of the chunk
    std::uint64_t body_bytes_ = 0;  // declared so far
};

}  // namespace steplog::steps
