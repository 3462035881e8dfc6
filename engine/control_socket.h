// A Unix stream socket's descriptor with deadlines. Private to engine/control*.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>

#include "engine/types.h"

namespace steplog::control {

using Deadline = std::chrono::steady_clock::time_point;

inline Deadline after(Ms span) { return std::chrono::steady_clock::now() + span; }

/// A descriptor that closes itself.
class Descriptor {
  public:
    explicit Descriptor(int number = -1) : number_(number) {}
    ~Descriptor();
    Descriptor(Descriptor&& other) noexcept : number_(other.number_) { other.number_ = -1; }
    Descriptor& operator=(Descriptor&& other) noexcept;
    int number() const { return number_; }
    bool valid() const { return number_ >= 0; }

  private:
    int number_;
};

/// A path of at most 107 bytes for `name` in the directory that `directory` holds open: the address
/// of a Unix socket has no room for more.
std::string short_path(const Descriptor& directory, const std::string& name);

/// Reads up to a line feed and returns what stands before it. Nothing when the deadline passes, the
/// other side ends first, or more than `bytes_max` come.
std::optional<std::string> read_line(int descriptor, std::size_t bytes_max, Deadline deadline);

/// False when the deadline passes or the other side is gone.
bool write_all(int descriptor, std::string_view bytes, Deadline deadline);

}  // namespace steplog::control
