// What SQLite calls on the files of a CrashVfs.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "tests/support/crash_machine.h"

namespace steplog::testing {
namespace {

// What SQLite allocates for a file.
struct SqliteHandle {
    sqlite3_file base;
    CrashVfs::Impl* impl;
    Handle* handle;
};

CrashVfs::Impl& impl_of(sqlite3_file* file) { return *reinterpret_cast<SqliteHandle*>(file)->impl; }
Handle& handle_of(sqlite3_file* file) { return *reinterpret_cast<SqliteHandle*>(file)->handle; }
CrashVfs::Impl& impl_of(sqlite3_vfs* vfs) { return *static_cast<CrashVfs::Impl*>(vfs->pAppData); }

void unlock(Handle& handle, int level) {
    File& file = *handle.file;
    if (level < SQLITE_LOCK_RESERVED && file.writer == &handle) file.writer = nullptr;
    if (level == SQLITE_LOCK_NONE && handle.level >= SQLITE_LOCK_SHARED) --file.shared_locks;
    handle.level = level;
}

void release_slots(Handle& handle, unsigned slots) {
    SharedMemory& memory = *handle.memory;
    for (unsigned i = 0; i < memory.shared.size(); ++i) {
        const unsigned bit = 1u << i;
        if (!(slots & bit)) continue;
        if (handle.shared_slots & bit) --memory.shared[i];
        if (handle.exclusive_slots & bit) memory.exclusive[i] = nullptr;
    }
    handle.shared_slots &= ~slots;
    handle.exclusive_slots &= ~slots;
}

void unmap(Handle& handle) {
    if (!handle.memory) return;
    release_slots(handle, ~0u);
    if (--handle.memory->users == 0 && handle.file->memory == handle.memory)
        handle.file->memory = nullptr;
    handle.memory = nullptr;
}

int close_file(sqlite3_file* file) {
    auto& impl = impl_of(file);
    std::lock_guard lock(impl.mutex);
    auto& handle = handle_of(file);
    unmap(handle);
    if (handle.life == impl.disk.life()) unlock(handle, SQLITE_LOCK_NONE);
    delete &handle;
    return SQLITE_OK;
}

int read_file(sqlite3_file* file, void* to, int amount, sqlite3_int64 offset) {
    auto& impl = impl_of(file);
    std::lock_guard lock(impl.mutex);
    const auto& handle = handle_of(file);
    if (impl.dead(handle)) return SQLITE_IOERR_READ;
    const auto decision = impl.decide(Operation::read, SQLITE_IOERR_READ, *handle.file, "");
    if (decision.result != SQLITE_OK) return decision.result;
    const Bytes& seen = handle.file->seen.bytes();
    const auto there = std::max<std::int64_t>(0, static_cast<std::int64_t>(seen.size()) - offset);
    const auto count = static_cast<std::size_t>(std::min<std::int64_t>(there, amount));
    if (count > 0) std::memcpy(to, seen.data() + offset, count);
    if (count == static_cast<std::size_t>(amount)) return SQLITE_OK;
    std::memset(static_cast<unsigned char*>(to) + count, 0,
                static_cast<std::size_t>(amount) - count);
    return SQLITE_IOERR_SHORT_READ;
}

int write_file(sqlite3_file* file, const void* from, int amount, sqlite3_int64 offset) {
    auto& impl = impl_of(file);
    std::lock_guard lock(impl.mutex);
    const auto& handle = handle_of(file);
    if (impl.dead(handle)) return SQLITE_IOERR_WRITE;
    if (handle.read_only) return SQLITE_READONLY;
    const auto grows =
        offset + amount - static_cast<std::int64_t>(handle.file->seen.bytes().size());
    if (impl.capacity > 0 && grows > 0 && impl.disk.used() + grows > impl.capacity)
        return SQLITE_FULL;
    const auto decision = impl.decide(Operation::write, SQLITE_IOERR_WRITE, *handle.file,
                                      fmt::format("{} bytes at {}", amount, offset));
    if (decision.happens) {
        const auto* bytes = static_cast<const unsigned char*>(from);
        impl.disk.change(*handle.file, {.offset = offset, .bytes = Bytes(bytes, bytes + amount)});
    }
    return decision.result;
}

int truncate_file(sqlite3_file* file, sqlite3_int64 size) {
    auto& impl = impl_of(file);
    std::lock_guard lock(impl.mutex);
    const auto& handle = handle_of(file);
    if (impl.dead(handle)) return SQLITE_IOERR_TRUNCATE;
    if (handle.read_only) return SQLITE_READONLY;
    const auto decision = impl.decide(Operation::truncate, SQLITE_IOERR_TRUNCATE, *handle.file,
                                      fmt::format("to {} bytes", size));
    if (decision.happens) impl.disk.change(*handle.file, {.truncates = true, .offset = size});
    return decision.result;
}

int sync_file(sqlite3_file* file, int) {
    auto& impl = impl_of(file);
    std::lock_guard lock(impl.mutex);
    const auto& handle = handle_of(file);
    if (impl.dead(handle)) return SQLITE_IOERR_FSYNC;
    const auto decision = impl.decide(Operation::sync, SQLITE_IOERR_FSYNC, *handle.file, "");
    if (decision.result == SQLITE_OK && !impl.options.lying_sync) impl.disk.sync(*handle.file);
    if (decision.result != SQLITE_OK && !impl.cut) CrashDisk::doom(*handle.file);
    return decision.result;
}

int file_size(sqlite3_file* file, sqlite3_int64* size) {
    auto& impl = impl_of(file);
    std::lock_guard lock(impl.mutex);
    const auto& handle = handle_of(file);
    if (impl.dead(handle)) return SQLITE_IOERR_FSTAT;
    *size = static_cast<sqlite3_int64>(handle.file->seen.bytes().size());
    return SQLITE_OK;
}

int lock_file(sqlite3_file* file, int level) {
    auto& impl = impl_of(file);
    std::lock_guard lock(impl.mutex);
    auto& handle = handle_of(file);
    if (impl.dead(handle)) return SQLITE_IOERR_LOCK;
    if (level <= handle.level) return SQLITE_OK;
    File& locked = *handle.file;
    const bool other_writer = locked.writer && locked.writer != &handle;
    if (level == SQLITE_LOCK_SHARED) {
        if (other_writer && locked.writer->level >= SQLITE_LOCK_PENDING) return SQLITE_BUSY;
        ++locked.shared_locks;
    } else {
        if (other_writer) return SQLITE_BUSY;
        locked.writer = &handle;
        if (level == SQLITE_LOCK_EXCLUSIVE && locked.shared_locks > 1) {
            handle.level = SQLITE_LOCK_PENDING;
            return SQLITE_BUSY;
        }
    }
    handle.level = level;
    return SQLITE_OK;
}

int unlock_file(sqlite3_file* file, int level) {
    auto& impl = impl_of(file);
    std::lock_guard lock(impl.mutex);
    auto& handle = handle_of(file);
    if (handle.life == impl.disk.life() && level < handle.level) unlock(handle, level);
    return SQLITE_OK;
}

int check_reserved_lock(sqlite3_file* file, int* reserved) {
    auto& impl = impl_of(file);
    std::lock_guard lock(impl.mutex);
    const auto& handle = handle_of(file);
    if (impl.dead(handle)) return SQLITE_IOERR_CHECKRESERVEDLOCK;
    *reserved = handle.file->writer != nullptr;
    return SQLITE_OK;
}

int file_control(sqlite3_file*, int, void*) { return SQLITE_NOTFOUND; }

int sector_size(sqlite3_file*) { return static_cast<int>(sector_bytes); }

int device_characteristics(sqlite3_file* file) {
    auto& impl = impl_of(file);
    std::lock_guard lock(impl.mutex);
    return impl.options.powersafe_overwrite ? SQLITE_IOCAP_POWERSAFE_OVERWRITE : 0;
}

int map_memory(sqlite3_file* file, int region, int size, int extend, void volatile** at) {
    auto& impl = impl_of(file);
    std::lock_guard lock(impl.mutex);
    auto& handle = handle_of(file);
    *at = nullptr;
    if (impl.dead(handle)) return SQLITE_IOERR_SHMMAP;
    if (!handle.memory) {
        auto& memory = handle.file->memory;
        if (!memory) memory = std::make_shared<SharedMemory>();
        handle.memory = memory;
        ++memory->users;
    }
    auto& regions = handle.memory->regions;
    while (extend && static_cast<int>(regions.size()) <= region)
        regions.push_back(std::make_unique<Bytes>(size));
    if (region < static_cast<int>(regions.size())) *at = regions[region]->data();
    return SQLITE_OK;
}

int lock_memory(sqlite3_file* file, int offset, int count, int flags) {
    auto& impl = impl_of(file);
    std::lock_guard lock(impl.mutex);
    auto& handle = handle_of(file);
    if (!handle.memory) return SQLITE_IOERR_SHMLOCK;
    const unsigned slots = ((1u << count) - 1u) << offset;
    if (flags & SQLITE_SHM_UNLOCK) {
        release_slots(handle, slots);
        return SQLITE_OK;
    }
    if (impl.dead(handle)) return SQLITE_IOERR_SHMLOCK;
    SharedMemory& memory = *handle.memory;
    const bool exclusively = flags & SQLITE_SHM_EXCLUSIVE;
    for (int i = offset; i < offset + count; ++i) {
        const int others = memory.shared[i] - (handle.shared_slots >> i & 1u ? 1 : 0);
        const bool taken = memory.exclusive[i] && memory.exclusive[i] != &handle;
        if (taken || (exclusively && others > 0)) return SQLITE_BUSY;
    }
    for (int i = offset; i < offset + count; ++i) {
        const unsigned bit = 1u << i;
        if (exclusively) {
            memory.exclusive[i] = &handle;
            handle.exclusive_slots |= bit;
        } else if (!(handle.shared_slots & bit)) {
            ++memory.shared[i];
            handle.shared_slots |= bit;
        }
    }
    return SQLITE_OK;
}

void memory_barrier(sqlite3_file* file) {
    // Taking and giving back the mutex is a full barrier, and one that ThreadSanitizer understands.
    std::lock_guard lock(impl_of(file).mutex);
}

int unmap_memory(sqlite3_file* file, int) {
    auto& impl = impl_of(file);
    std::lock_guard lock(impl.mutex);
    unmap(handle_of(file));
    return SQLITE_OK;
}

constexpr sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = close_file,
    .xRead = read_file,
    .xWrite = write_file,
    .xTruncate = truncate_file,
    .xSync = sync_file,
    .xFileSize = file_size,
    .xLock = lock_file,
    .xUnlock = unlock_file,
    .xCheckReservedLock = check_reserved_lock,
    .xFileControl = file_control,
    .xSectorSize = sector_size,
    .xDeviceCharacteristics = device_characteristics,
    .xShmMap = map_memory,
    .xShmLock = lock_memory,
    .xShmBarrier = memory_barrier,
    .xShmUnmap = unmap_memory,
    .xFetch = nullptr,
    .xUnfetch = nullptr,
};

int open_file(sqlite3_vfs* vfs, const char* name, sqlite3_file* file, int flags, int* flags_out) {
    auto& impl = impl_of(vfs);
    std::lock_guard lock(impl.mutex);
    file->pMethods = nullptr;
    std::shared_ptr<File> opened;
    if (!name) {
        opened = std::make_shared<File>();
    } else {
        if (impl.cut) return SQLITE_CANTOPEN;
        opened = impl.disk.find(name);
        if (!opened) {
            if (!(flags & SQLITE_OPEN_CREATE)) return SQLITE_CANTOPEN;
            File wanted;
            wanted.name = name;
            const auto decision = impl.decide(Operation::create, SQLITE_CANTOPEN, wanted, "");
            if (decision.happens) opened = impl.disk.create(name);
            if (decision.result != SQLITE_OK) return decision.result;
        }
    }
    auto* sqlite_handle = reinterpret_cast<SqliteHandle*>(file);
    sqlite_handle->impl = &impl;
    sqlite_handle->handle = new Handle{.file = std::move(opened),
                                       .life = impl.disk.life(),
                                       .read_only = (flags & SQLITE_OPEN_READONLY) != 0};
    file->pMethods = &methods;
    if (flags_out) *flags_out = flags;
    return SQLITE_OK;
}

int delete_file(sqlite3_vfs* vfs, const char* name, int sync_names) {
    auto& impl = impl_of(vfs);
    std::lock_guard lock(impl.mutex);
    if (impl.cut) return SQLITE_IOERR_DELETE;
    const auto file = impl.disk.find(name);
    if (!file) return SQLITE_IOERR_DELETE_NOENT;
    const auto decision = impl.decide(Operation::remove, SQLITE_IOERR_DELETE, *file, "");
    if (decision.happens) impl.disk.remove(name);
    if (decision.result == SQLITE_OK && sync_names && !impl.options.lying_sync)
        impl.disk.sync_names();
    return decision.result;
}

int access_file(sqlite3_vfs* vfs, const char* name, int, int* answer) {
    auto& impl = impl_of(vfs);
    std::lock_guard lock(impl.mutex);
    if (impl.cut) return SQLITE_IOERR_ACCESS;
    *answer = impl.disk.find(name) != nullptr;
    return SQLITE_OK;
}

int full_pathname(sqlite3_vfs*, const char* name, int size, char* out) {
    sqlite3_snprintf(size, out, "%s", name);
    return SQLITE_OK;
}

int randomness(sqlite3_vfs* vfs, int size, char* out) {
    sqlite3_vfs* system = impl_of(vfs).system;
    return system->xRandomness(system, size, out);
}

// Whoever waits for a lock tries again at once: no time passes here.
int do_not_sleep(sqlite3_vfs*, int microseconds) { return microseconds; }

int current_time(sqlite3_vfs* vfs, double* now) {
    sqlite3_vfs* system = impl_of(vfs).system;
    return system->xCurrentTime(system, now);
}

int current_time_int64(sqlite3_vfs* vfs, sqlite3_int64* now) {
    sqlite3_vfs* system = impl_of(vfs).system;
    return system->xCurrentTimeInt64(system, now);
}

int last_error(sqlite3_vfs*, int, char*) { return 0; }

}  // namespace

void install_calls(CrashVfs::Impl& machine) {
    machine.vfs.iVersion = 2;
    machine.vfs.szOsFile = sizeof(SqliteHandle);
    machine.vfs.mxPathname = 512;
    machine.vfs.zName = machine.name.c_str();
    machine.vfs.pAppData = &machine;
    machine.vfs.xOpen = open_file;
    machine.vfs.xDelete = delete_file;
    machine.vfs.xAccess = access_file;
    machine.vfs.xFullPathname = full_pathname;
    machine.vfs.xRandomness = randomness;
    machine.vfs.xSleep = do_not_sleep;
    machine.vfs.xCurrentTime = current_time;
    machine.vfs.xCurrentTimeInt64 = current_time_int64;
    machine.vfs.xGetLastError = last_error;
}

}  // namespace steplog::testing
