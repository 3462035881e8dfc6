#include "tests/support/crash_vfs.h"

#include <fmt/format.h>

#include <array>
#include <stdexcept>

#include "tests/support/crash_machine.h"

namespace steplog::testing {
namespace {

const char* word(Operation operation) {
    static constexpr std::array words = {"read",   "write",  "truncate", "sync",
                                         "create", "remove", "outside"};
    return words.at(static_cast<std::size_t>(operation));
}

}  // namespace

CrashVfs::Impl::Decision CrashVfs::Impl::decide(Operation operation, int failure, const File& file,
                                                const std::string& what) {
    if (cut) return {failure, false};
    if (file.name.empty()) return {};
    if (operation != Operation::read) {
        ++operations;
        if ((!cut_only || *cut_only == operation) && --until_cut == 0) {
            cut = true;
            cut_at = fmt::format("{} {} {}", word(operation), file.name, what);
            return {failure, operation != Operation::sync};
        }
    }
    for (Fault& fault : faults)
        if (fault.operation == operation && fault.remaining > 0 && --fault.remaining == 0) {
            if (fault.for_good) fault.remaining = 1;
            has_failed = true;
            cut_at = fmt::format("the error of a {} of {} {}", word(operation), file.name, what);
            return {fault.result, false};
        }
    return {};
}

CrashVfs::CrashVfs(std::string name, Options options) : impl_(std::make_unique<Impl>()) {
    impl_->name = std::move(name);
    impl_->options = options;
    impl_->system = sqlite3_vfs_find(nullptr);
    install_calls(*impl_);
    if (sqlite3_vfs_register(&impl_->vfs, 0) != SQLITE_OK)
        throw std::runtime_error("SQLite did not register the VFS " + impl_->name);
}

CrashVfs::~CrashVfs() { sqlite3_vfs_unregister(&impl_->vfs); }

const std::string& CrashVfs::name() const { return impl_->name; }

void CrashVfs::set_options(Options options) {
    std::lock_guard lock(impl_->mutex);
    impl_->options = options;
}

CrashVfs::Image CrashVfs::image() {
    std::lock_guard lock(impl_->mutex);
    return impl_->disk.image();
}

void CrashVfs::restore(const Image& image) {
    std::lock_guard lock(impl_->mutex);
    impl_->disk.restore(image);
    impl_->faults.clear();
    impl_->has_failed = false;
    impl_->capacity = 0;
    impl_->count_anew();
}

void CrashVfs::cut_after(std::int64_t n, std::optional<Operation> only) {
    std::lock_guard lock(impl_->mutex);
    impl_->count_anew();
    impl_->until_cut = n;
    impl_->cut_only = only;
}

bool CrashVfs::is_cut() const {
    std::lock_guard lock(impl_->mutex);
    return impl_->cut;
}

std::int64_t CrashVfs::operations() const {
    std::lock_guard lock(impl_->mutex);
    return impl_->operations;
}

std::string CrashVfs::cut_at() const {
    std::lock_guard lock(impl_->mutex);
    return impl_->cut_at;
}

bool CrashVfs::outside_operation(const std::string& what) {
    std::lock_guard lock(impl_->mutex);
    File world;
    world.name = what;
    return impl_->decide(Operation::outside, SQLITE_ERROR, world, "").result == SQLITE_OK;
}

void CrashVfs::crash(Survival survival, std::uint64_t seed) {
    std::lock_guard lock(impl_->mutex);
    impl_->disk.crash(survival, seed, impl_->options.powersafe_overwrite);
    impl_->count_anew();
}

void CrashVfs::fail(Operation operation, std::int64_t n, int result, bool for_good) {
    std::lock_guard lock(impl_->mutex);
    impl_->faults.push_back({operation, n, result, for_good});
}

bool CrashVfs::has_failed() const {
    std::lock_guard lock(impl_->mutex);
    return impl_->has_failed;
}

void CrashVfs::clear_faults() {
    std::lock_guard lock(impl_->mutex);
    impl_->has_failed = false;
    impl_->faults.clear();
}

void CrashVfs::set_capacity(std::int64_t bytes) {
    std::lock_guard lock(impl_->mutex);
    impl_->capacity = bytes;
}

std::int64_t CrashVfs::used() const {
    std::lock_guard lock(impl_->mutex);
    return impl_->disk.used();
}

}  // namespace steplog::testing
