#include "engine/wal_rewrite.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "engine/digest.h"
#include "engine/errors.h"
#include "engine/vfs_file.h"
#include "engine/wal_file.h"

namespace steplog {
namespace {

constexpr std::size_t chunk_bytes = 64 * 1024;  // SQLite's VFS takes less than 128 KiB at once
constexpr int copies_max = 4;  // that many deaths in a row between a copy and its removal

// A copy: this header in a page of its own, then the log's bytes.
constexpr std::string_view copy_magic = "steplog write-ahead log copy 1\n";
constexpr std::int64_t copy_body_at = 4096;
struct CopyHeader {
    std::array<char, 32> magic{};
    std::int64_t length = 0;
    Hash digest{};
};

struct Region {
    VfsFile& file;
    std::int64_t at;
    std::int64_t length;
};

void for_each_chunk(
    const Region& region,
    const std::function<void(const unsigned char*, std::size_t, std::int64_t)>& use) {
    std::vector<unsigned char> bytes(
        static_cast<std::size_t>(std::min<std::int64_t>(region.length, chunk_bytes)));
    for (std::int64_t done = 0; done < region.length; done += chunk_bytes) {
        const auto length =
            static_cast<std::size_t>(std::min<std::int64_t>(region.length - done, chunk_bytes));
        region.file.read(bytes.data(), length, region.at + done);
        use(bytes.data(), length, done);
    }
}

// SHA-256 over each chunk's, so that a log of any size needs the memory of one.
Hash digest_of(const Region& region) {
    std::string hashes;
    for_each_chunk(region, [&](const unsigned char* bytes, std::size_t length, std::int64_t) {
        const Hash hash = sha256({reinterpret_cast<const char*>(bytes), length});
        hashes.append(reinterpret_cast<const char*>(hash.data()), hash.size());
    });
    return sha256(hashes);
}

void write_to(VfsFile& file, std::int64_t at, const Region& source) {
    for_each_chunk(source, [&](const unsigned char* bytes, std::size_t length, std::int64_t done) {
        file.write(bytes, length, at + done);
    });
}

// Up to the last commit that SQLite's recovery would find; 0: nothing.
std::int64_t committed_bytes(VfsFile& wal) {
    std::array<unsigned char, WalChain::header_bytes> header{};
    const std::int64_t size = wal.size();
    if (size < static_cast<std::int64_t>(header.size())) return 0;
    wal.read(header.data(), header.size(), 0);
    WalChain chain(header);
    std::vector<unsigned char> frame(chain.frame_bytes());
    const auto frame_bytes = static_cast<std::int64_t>(frame.size());
    std::int64_t committed = 0;
    for (auto end = static_cast<std::int64_t>(header.size()) + frame_bytes;
         chain.whole() && end <= size; end += frame_bytes) {
        wal.read(frame.data(), frame.size(), end - frame_bytes);
        chain.add(frame.data());
        if (chain.whole() && WalChain::commits(frame.data())) committed = end;
    }
    return committed;
}

// The part of a copy that is the log; nothing when the copy is not whole.
std::optional<Region> body_of(VfsFile& copy) {
    CopyHeader header;
    const std::int64_t size = copy.size();
    if (size < copy_body_at) return std::nullopt;
    copy.read(reinterpret_cast<unsigned char*>(&header), sizeof header, 0);
    if (std::string_view(header.magic.data(), copy_magic.size()) != copy_magic ||
        header.length <= 0 || header.length > size - copy_body_at)
        return std::nullopt;
    const Region body{copy, copy_body_at, header.length};
    if (digest_of(body) != header.digest) return std::nullopt;
    return body;
}

void write_copy(VfsFile& copy, const Region& source) {
    CopyHeader header{.length = source.length, .digest = digest_of(source)};
    std::copy(copy_magic.begin(), copy_magic.end(), header.magic.begin());
    std::array<unsigned char, copy_body_at> page{};
    std::memcpy(page.data(), &header, sizeof header);
    copy.write(page.data(), page.size(), 0);
    write_to(copy, copy_body_at, source);
    copy.sync();
}

bool begins_with(VfsFile& wal, const Region& body) {
    return wal.size() >= body.length && digest_of({wal, 0, body.length}) == digest_of(body);
}

void write_in_place(VfsFile& wal, const Region& source) {
    write_to(wal, 0, source);
    wal.sync();
}

// A database's WAL and the copies of it that lie there.
class Logs {
  public:
    Logs(const std::string& database, const std::string& vfs)
        : vfs_(vfs), database_(vfs_.full_path(database)), wal_(database_ + "-wal") {}

    bool has_copies() const {
        bool any = false;
        for_each_copy([&](const std::string&) { any = true; });
        return any;
    }
    bool has_wal() const { return vfs_.exists(wal_) && open_wal().size() > 0; }
    VfsFile open_wal() const { return VfsFile(vfs_, wal_, VfsFile::Kind::log); }
    VfsFile open_database() const { return VfsFile(vfs_, database_, VfsFile::Kind::database); }

    // Calls `use` with the first copy that is whole; false when there is none.
    bool with_whole_copy(const std::function<void(const Region&)>& use) const {
        bool found = false;
        for_each_copy([&](const std::string& name) {
            if (found) return;
            VfsFile copy(vfs_, name, VfsFile::Kind::log);
            const auto body = body_of(copy);
            if (!body) return;
            found = true;
            use(*body);
        });
        return found;
    }

    void remove_copies(bool torn_ones_only = false) const {
        for_each_copy([&](const std::string& name) {
            if (torn_ones_only) {
                VfsFile copy(vfs_, name, VfsFile::Kind::log);
                if (body_of(copy)) return;
            }
            vfs_.remove(name);
        });
    }

    void write_twice(VfsFile& wal, const Region& source) const {
        if (!make_copy(source)) return;
        write_in_place(wal, source);
        remove_copies();
    }

  private:
    std::string copy_name(int n) const { return fmt::format("{}-copy{}", wal_, n); }

    void for_each_copy(const std::function<void(const std::string&)>& use) const {
        for (int n = 1; n <= copies_max; ++n)
            if (vfs_.exists(copy_name(n))) use(copy_name(n));
    }

    // A new one, never over one that lies there: whether that is on the disk nobody knows. False:
    // no copy at all, for want of room. With all names taken those there must do.
    bool make_copy(const Region& source) const {
        int n = 1;
        while (n <= copies_max && vfs_.exists(copy_name(n))) ++n;
        if (n > copies_max) return true;
        try {
            VfsFile copy(vfs_, copy_name(n), VfsFile::Kind::new_log);
            write_copy(copy, source);
            return true;
        } catch (const VfsError& error) {
            if ((error.code() & 0xff) != SQLITE_FULL) throw;
        }
        vfs_.remove(copy_name(n));
        return has_copies();
    }

    const Vfs vfs_;
    const std::string database_;
    const std::string wal_;
};

[[noreturn]] void refuse(const std::string& database, const VfsError& error) {
    throw OpenError(
        fmt::format("cannot make the write-ahead log of {} safe: {} (SQLite code {}): see to the "
                    "disk, and start again",
                    database, error.what(), error.code()));
}

// Whoever has the database open took the torn log for the whole one, and shares that index.
void put_back(const Logs& logs, VfsFile& wal, const Region& body, const std::string& database) {
    VfsFile whole_database = logs.open_database();
    if (!whole_database.lock_out_others())
        throw OpenError(
            fmt::format("{} is being read by another program, and what a power loss left half "
                        "written in its write-ahead log cannot be put back before that ends: end "
                        "the reader, and start again",
                        database));
    logs.write_twice(wal, body);
}

}  // namespace

void finish_wal_rewrite(const std::string& database, const std::string& vfs) {
    try {
        const Logs logs(database, vfs);
        if (!logs.has_copies()) return;
        // What a copy holds of a log that is not on the disk at all was never acknowledged.
        if (!logs.has_wal()) return logs.remove_copies();
        logs.remove_copies(true);
        logs.with_whole_copy([&](const Region& body) {
            VfsFile wal = logs.open_wal();
            // Else only the process died, and rewrite_wal begins again.
            if (!begins_with(wal, body)) put_back(logs, wal, body, database);
        });
    } catch (const VfsError& error) {
        refuse(database, error);
    }
}

bool wal_is_torn(const std::string& database, const std::string& vfs) {
    try {
        const Logs logs(database, vfs);
        if (!logs.has_copies() || !logs.has_wal()) return false;
        VfsFile wal = logs.open_wal();
        bool torn = false;
        logs.with_whole_copy([&](const Region& body) { torn = !begins_with(wal, body); });
        return torn;
    } catch (const VfsError&) {
        return false;  // whoever opens the database is told why
    }
}

void rewrite_wal(const std::string& database, const std::string& vfs, WalTrust trust) {
    if (trust == WalTrust::what_is_shown) return;
    try {
        const Logs logs(database, vfs);
        if (!logs.has_wal()) return;
        VfsFile wal = logs.open_wal();
        const Region committed{wal, 0, committed_bytes(wal)};
        if (committed.length == 0) return logs.remove_copies();
        if (trust == WalTrust::neighbours) return write_in_place(wal, committed);
        logs.write_twice(wal, committed);
    } catch (const VfsError& error) {
        refuse(database, error);
    }
}

}  // namespace steplog
