// Feeds arbitrary bytes, in arbitrary pieces, to the provider's side of an exchange: ReplyFrame and
// behind it the library. Looks for crashes, and checks what every accepted reply must hold; above
// all that it was whole: with its last byte missing it must not be a reply any more.
// libFuzzer; the first byte of the input is the size of the pieces.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <optional>

#include "engine/errors.h"
#include "steps/http_exchange.h"

namespace {

using namespace steplog;
using namespace steplog::steps;

constexpr std::size_t reply_max = 1000;

class MemoryChannel : public Channel {
  public:
    MemoryChannel(std::string_view bytes, std::size_t piece) : left_(bytes), piece_(piece) {}

    void send(std::string_view) override {}

    std::size_t receive(char* buffer, std::size_t size) override {
        const std::size_t part = std::min({size, piece_, left_.size()});
        std::copy_n(left_.data(), part, buffer);
        left_.remove_prefix(part);
        return part;
    }

    std::size_t left() const { return left_.size(); }

  private:
    std::string_view left_;
    std::size_t piece_;
};

void require(bool promise) {
    if (!promise) std::abort();
}

std::optional<HttpReply> reply_to(MemoryChannel& channel) {
    static const HttpRequest request = [] {
        HttpRequest made;
        made.method = "GET";
        made.target = "/";
        return made;
    }();
    static const BaseUrl base = parse_base_url("https://api.example.com");
    try {
        return exchange(channel, request, base, reply_max);
    } catch (const RetryableError& error) {
        require(error.details().outcome == Outcome::unknown);
        return std::nullopt;
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
    MemoryChannel channel(bytes, std::size_t{1} + data[0]);
    const auto reply = reply_to(channel);

    // How it arrives must not matter; byte by byte also tells where the reply ended.
    MemoryChannel slow(bytes, 1);
    const auto again = reply_to(slow);
    require(reply.has_value() == again.has_value());
    if (!reply) return 0;
    require(reply->status >= 200 && reply->status <= 599);
    require(reply->body.size() <= reply_max);
    require(reply->status == again->status && reply->body == again->body &&
            reply->headers == again->headers);

    const std::size_t whole = bytes.size() - slow.left();
    MemoryChannel cut(bytes.substr(0, whole - 1), 4096);
    require(!reply_to(cut));
    return 0;
}
