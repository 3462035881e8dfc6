// The damage tests' negative control: an engine whose hashes are all the same, so that nothing ever
// fails to verify. The linker lets the engine's hash functions pass through here (--wrap).
#pragma once

namespace steplog::testing {

/// While one exists, every hash of the engine is 32 zero bytes. One thread.
class Unhashed {
  public:
    Unhashed();
    ~Unhashed();
    Unhashed(const Unhashed&) = delete;
    Unhashed& operator=(const Unhashed&) = delete;
};

}  // namespace steplog::testing
