// Memory that runs out at the n-th request, for whatever asks C++ or SQLite for it. Replaces the
// global operator new of the program that includes it: exactly one source file may. Armed only
// inside a child process; counts what all of its threads ask for.
#pragma once

#include <sqlite3.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <stdexcept>

namespace steplog::testing {

inline std::atomic<std::int64_t> allocations_left{-1};  // until one fails; negative: none does
inline std::atomic<bool> fails_for_good{false};         // …and all that follow
inline std::atomic<bool> has_run_out{false};

inline bool runs_out() {
    if (allocations_left.load(std::memory_order_relaxed) < 0)
        return has_run_out.load() && fails_for_good.load();
    if (allocations_left.fetch_sub(1) != 0) return false;
    has_run_out = true;
    return true;
}

/// From now on the n-th request (1: the next one) gets nothing, with `for_good` every later one
/// too.
inline void run_out_after(std::int64_t n, bool for_good) {
    has_run_out = false;
    fails_for_good = for_good;
    allocations_left = n - 1;
}

inline void there_is_memory_again() {
    fails_for_good = false;
    allocations_left = -1;
}

/// SQLite's allocator, failing as the rest does. Before SQLite is used for the first time.
inline void make_sqlite_run_out_too() {
    static sqlite3_mem_methods original;
    if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &original) != SQLITE_OK)
        throw std::logic_error("SQLite was used before its memory was replaced");
    sqlite3_mem_methods failing = original;
    failing.xMalloc = [](int size) { return runs_out() ? nullptr : original.xMalloc(size); };
    failing.xRealloc = [](void* memory, int size) {
        return runs_out() ? nullptr : original.xRealloc(memory, size);
    };
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &failing) != SQLITE_OK)
        throw std::logic_error("SQLite did not take another allocator");
}

}  // namespace steplog::testing

inline void* steplog_allocate(std::size_t size, std::size_t alignment) {
    if (steplog::testing::runs_out()) throw std::bad_alloc();
    void* memory =
        alignment > alignof(std::max_align_t)
            ? std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment)
            : std::malloc(size == 0 ? 1 : size);
    if (!memory) throw std::bad_alloc();
    return memory;
}

void* operator new(std::size_t size) { return steplog_allocate(size, 1); }
void* operator new[](std::size_t size) { return steplog_allocate(size, 1); }
void* operator new(std::size_t size, std::align_val_t alignment) {
    return steplog_allocate(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
    return steplog_allocate(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
