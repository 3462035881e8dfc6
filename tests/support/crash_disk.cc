#include "tests/support/crash_disk.h"

#include <algorithm>
#include <limits>

namespace steplog::testing {
namespace {

// A write that was under way: every sector of it came through or not. Without powersafe overwrite a
// sector_bytes at its edge may be garbage, the neighbours' bytes in it included.
void apply_torn(Bytes& bytes, const Change& change, bool powersafe_overwrite,
                SeededRandom& random) {
    if (change.truncates) {
        if (random.below(2)) apply_to(bytes, change);
        return;
    }
    const auto size = static_cast<std::int64_t>(change.bytes.size());
    const std::int64_t first = change.offset / sector_bytes;
    const std::int64_t last = (change.offset + size - 1) / sector_bytes;
    const bool in_order = random.below(2);
    const std::int64_t stop = first + static_cast<std::int64_t>(random.below(last - first + 2));
    for (std::int64_t at = first; at <= last; ++at) {
        if (in_order ? at >= stop : random.below(2)) continue;
        const std::int64_t from = std::max(at * sector_bytes, change.offset);
        const std::int64_t to = std::min((at + 1) * sector_bytes, change.offset + size);
        apply_to(bytes, {.offset = from,
                         .bytes = Bytes(change.bytes.begin() + (from - change.offset),
                                        change.bytes.begin() + (to - change.offset))});
    }
    if (powersafe_overwrite || !random.below(2)) return;
    Change garbage{.offset = (random.below(2) ? first : last) * sector_bytes,
                   .bytes = Bytes(sector_bytes)};
    for (auto& byte : garbage.bytes) byte = static_cast<unsigned char>(random.next());
    apply_to(bytes, garbage);
}

// Which of the pending changes the disk had written out by itself when the power went.
std::vector<const Change*> choose(const std::vector<Change>& pending, SeededRandom& random) {
    std::vector<const Change*> kept;
    const auto way = random.below(3);
    const auto length = random.below(pending.size() + 1);
    for (std::size_t i = 0; i < pending.size(); ++i) {
        const bool keep = way == 0 ? random.below(2) : way == 1 ? i < length : i != length;
        if (keep) kept.push_back(&pending[i]);
    }
    return kept;
}

std::shared_ptr<const Bytes> surviving(File& file, Survival survival, bool powersafe_overwrite,
                                       SeededRandom& random) {
    if (survival == Survival::synced || file.pending.empty()) return file.synced.share();
    Bytes& bytes = file.synced.own();
    if (survival == Survival::everything)
        for (const Change& change : file.pending) apply_to(bytes, change);
    if (survival == Survival::torn) {
        const auto kept = choose(file.pending, random);
        for (std::size_t i = 0; i + 1 < kept.size(); ++i) apply_to(bytes, *kept[i]);
        if (!kept.empty()) apply_torn(bytes, *kept.back(), powersafe_overwrite, random);
    }
    return file.synced.share();
}

std::int64_t end_of(const Change& change) {
    return change.truncates ? std::numeric_limits<std::int64_t>::max()
                            : change.offset + static_cast<std::int64_t>(change.bytes.size());
}

// A sector is written whole, with what programs see of it.
bool share_a_sector(const Change& left, const Change& right) {
    const auto begin = [](const Change& change) { return change.offset / sector_bytes; };
    const auto last = [](const Change& change) { return (end_of(change) - 1) / sector_bytes; };
    return begin(left) <= last(right) && begin(right) <= last(left);
}

}  // namespace

void apply_to(Bytes& bytes, const Change& change) {
    const auto offset = static_cast<std::size_t>(change.offset);
    if (change.truncates) {
        bytes.resize(offset);
        return;
    }
    const std::size_t end = offset + change.bytes.size();
    if (bytes.capacity() < end) bytes.reserve(std::max<std::size_t>(1 << 20, 2 * end));
    if (bytes.size() < end) bytes.resize(end);
    std::copy(change.bytes.begin(), change.bytes.end(),
              bytes.begin() + static_cast<std::ptrdiff_t>(offset));
}

void CrashDisk::apply(Names& names, const NameChange& change) {
    if (change.file)
        names[change.name] = change.file;
    else
        names.erase(change.name);
}

std::shared_ptr<File> CrashDisk::find(const std::string& name) const {
    const auto found = seen_.find(name);
    return found == seen_.end() ? nullptr : found->second;
}

std::shared_ptr<File> CrashDisk::create(const std::string& name) {
    auto file = std::make_shared<File>();
    file->name = name;
    seen_[name] = file;
    pending_.push_back({name, file});
    return file;
}

void CrashDisk::remove(const std::string& name) {
    seen_.erase(name);
    pending_.push_back({name, nullptr});
}

void CrashDisk::change(File& file, Change change) {
    apply_to(file.seen.own(), change);
    if (!file.name.empty()) file.pending.push_back(std::move(change));
}

void CrashDisk::sync(File& file) {
    std::vector<Change> doomed;
    for (Change& change : file.pending) {
        if (change.doomed) {
            doomed.push_back(std::move(change));
            continue;
        }
        apply_to(file.synced.own(), change);
        // What is durable now is not undone by older bytes that were given up.
        std::erase_if(doomed, [&](const Change& older) { return share_a_sector(older, change); });
    }
    file.pending = std::move(doomed);
    const bool name_pending =
        std::any_of(pending_.begin(), pending_.end(),
                    [&](const NameChange& change) { return change.file.get() == &file; });
    if (name_pending) sync_names();
}

void CrashDisk::sync_names() {
    for (const NameChange& change : pending_) apply(synced_, change);
    pending_.clear();
}

void CrashDisk::doom(File& file) {
    for (Change& change : file.pending) change.doomed = true;
}

CrashVfs::Image CrashDisk::image() {
    CrashVfs::Image image;
    for (const auto& [name, file] : seen_) image[name] = file->seen.share();
    return image;
}

void CrashDisk::restore(const CrashVfs::Image& image) {
    ++life_;
    seen_.clear();
    pending_.clear();
    for (const auto& [name, bytes] : image) {
        auto file = std::make_shared<File>();
        file->name = name;
        file->seen = Content(bytes);
        file->synced = Content(bytes);
        seen_[name] = std::move(file);
    }
    synced_ = seen_;
}

void CrashDisk::crash(Survival survival, std::uint64_t seed, bool powersafe_overwrite) {
    SeededRandom random(seed);
    Names names =
        survival == Survival::everything || survival == Survival::page_cache ? seen_ : synced_;
    if (survival == Survival::torn) {
        const auto survivors = random.below(pending_.size() + 1);
        for (std::size_t i = 0; i < survivors; ++i) apply(names, pending_[i]);
    }
    if (survival == Survival::page_cache) {
        ++life_;
        for (auto& [name, file] : names) {
            file->shared_locks = 0;
            file->writer = nullptr;
            file->memory = nullptr;
        }
        return;
    }
    CrashVfs::Image image;
    for (const auto& [name, file] : names)
        image[name] = surviving(*file, survival, powersafe_overwrite, random);
    restore(image);
}

std::int64_t CrashDisk::used() const {
    std::int64_t bytes = 0;
    for (const auto& [name, file] : seen_)
        bytes += static_cast<std::int64_t>(file->seen.bytes().size());
    return bytes;
}

}  // namespace steplog::testing
