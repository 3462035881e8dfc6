// What lies under CrashVfs: files, their unsynced changes, names, locks and shared memory, and what
// a power loss leaves of them. Knows SQLite's lock levels, but not its calls. Not for tests to
// include; CrashVfs guards it all with its mutex.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/crash_vfs.h"
#include "tests/support/manual_clock.h"

namespace steplog::testing {

using Bytes = std::vector<unsigned char>;

inline constexpr std::int64_t sector_bytes = 512;  // what a disk writes whole or not at all

/// The bytes of a file, shared with images of the disk until they change.
class Content {
  public:
    Content() : bytes_(std::make_shared<Bytes>()) {}
    explicit Content(std::shared_ptr<const Bytes> shared)
        : bytes_(std::const_pointer_cast<Bytes>(std::move(shared))), shared_(true) {}

    const Bytes& bytes() const { return *bytes_; }
    Bytes& own() {
        if (shared_) bytes_ = std::make_shared<Bytes>(*bytes_);
        shared_ = false;
        return *bytes_;
    }
    std::shared_ptr<const Bytes> share() {
        shared_ = true;
        return bytes_;
    }

  private:
    std::shared_ptr<Bytes> bytes_;
    bool shared_ = false;  // never written through while this is set
};

/// A change of a file that the program has made and the disk may not have.
struct Change {
    bool truncates = false;
    std::int64_t offset = 0;  // of the write; the new size of a truncation
    Bytes bytes = {};
    bool doomed = false;  // its sync failed: later syncs do not save it
};

struct Handle;

/// SQLite's shared memory of a WAL: lives in the heap, as long as a connection maps it.
struct SharedMemory {
    std::vector<std::unique_ptr<Bytes>> regions;
    std::array<int, 8> shared{};
    std::array<const Handle*, 8> exclusive{};
    int users = 0;
};

struct File {
    std::string name;             // "": temporary, gone with its handle
    Content seen;                 // what programs read
    Content synced;               // what is there after a power loss for certain
    std::vector<Change> pending;  // between the two, in order
    int shared_locks = 0;
    const Handle* writer = nullptr;  // holds RESERVED or more
    std::shared_ptr<SharedMemory> memory;
};

/// An open file.
struct Handle {
    std::shared_ptr<File> file;
    std::int64_t life =
        0;  // of the disk, when it was opened: another one now means that it is dead
    bool read_only = false;
    int level = 0;  // SQLITE_LOCK_…
    std::shared_ptr<SharedMemory> memory = {};
    unsigned shared_slots = 0;  // bits: SHARED locks held in memory
    unsigned exclusive_slots = 0;
};

/// Writes or truncates.
void apply_to(Bytes& bytes, const Change& change);

/// The files by name, and which of the names are synced.
class CrashDisk {
  public:
    std::shared_ptr<File> find(const std::string& name) const;
    std::shared_ptr<File> create(const std::string& name);
    void remove(const std::string& name);
    void change(File& file, Change change);
    /// Makes the file's changes durable, and with its first sync its name (and what was done to
    /// names before that), as the common Linux file systems do.
    void sync(File& file);
    void sync_names();
    /// A failed sync: what was pending is never durable, unless a power loss spares it by chance.
    static void doom(File& file);

    CrashVfs::Image image();
    void restore(const CrashVfs::Image& image);
    void crash(Survival survival, std::uint64_t seed, bool powersafe_overwrite);
    std::int64_t used() const;
    std::int64_t life() const { return life_; }

  private:
    using Names = std::map<std::string, std::shared_ptr<File>>;
    struct NameChange {
        std::string name;
        std::shared_ptr<File> file;  // null: removed
    };
    static void apply(Names& names, const NameChange& change);

    Names seen_;
    Names synced_;
    std::vector<NameChange> pending_;
    std::int64_t life_ = 1;
};

}  // namespace steplog::testing
