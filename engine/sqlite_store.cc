#include "engine/sqlite_store.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <condition_variable>
#include <mutex>

#include "engine/disk_reserve.h"
#include "engine/file_identity.h"
#include "engine/file_lock.h"
#include "engine/group_commit.h"
#include "engine/rfc3339.h"
#include "engine/sqlite_connection.h"
#include "engine/sqlite_file.h"
#include "engine/transitions.h"
#include "engine/user_tables.h"

namespace steplog {
namespace {

constexpr std::size_t small_item_bytes = 512;

// The same database under all its names gets one lock: the directory is resolved, the file is not a
// link.
std::filesystem::path resolved(const std::filesystem::path& database) {
    std::error_code error;
    const auto absolute = std::filesystem::absolute(database, error);
    const auto directory = std::filesystem::canonical(absolute.parent_path(), error);
    if (error)
        throw OpenError(
            fmt::format("the directory {} does not exist or cannot be entered: make it first",
                        absolute.parent_path().string()));
    return directory / absolute.filename();
}

std::size_t bytes_of(const Advance& advance) {
    std::size_t bytes = small_item_bytes;
    for (const NewEntry& entry : advance.entries)
        bytes += entry.payload ? entry.payload->size() : 0;
    if (advance.to && advance.to->output) bytes += advance.to->output->size();
    return bytes;
}

template <class T>
std::future<T> refused(const StoreError& error) {
    std::promise<T> promise;
    promise.set_exception(std::make_exception_ptr(error));
    return promise.get_future();
}

StoreError full_now() {
    return {StoreError::Kind::full,
            "the disk is full: nothing new is taken until there is room again; free some space"};
}

// Kept by the writer thread. A disk that is full already must let the database be opened all the
// same.
std::unique_ptr<DiskReserve> reserve_for(const SqliteOptions& options,
                                         const std::filesystem::path& path) {
    if (!options.vfs.empty() || !options.writer_thread || options.reserve_bytes == 0)
        return nullptr;
    auto reserve = std::make_unique<DiskReserve>(path.string() + ".reserve", options.reserve_bytes);
    if (reserve->is_needed_now()) reserve->release();
    return reserve;
}

std::string told(const Transitions::Restored& restored) {
    return fmt::format(
        "this database was restored from a backup taken at {}: what was done since then is looked "
        "up before anything is repeated, for {} unfinished instances and for events from before "
        "the restore",
        format_rfc3339(restored.restore.taken_at_ms), restored.unfinished);
}

class SqliteStore final : public Store {
  public:
    SqliteStore(SqliteOptions options, const std::filesystem::path& path,
                std::unique_ptr<FileLock> lock, Clock& clock)
        : options_(std::move(options)),
          lock_(std::move(lock)),
          reserve_(reserve_for(options_, path)),
          file_(path, options_.vfs, options_.synchronous, options_.create, sqlite_migrations(),
                options_.wal_trust, options_.log_room_bytes),
          tables_(file_.database(), options_.change_limit),
          connection_(file_.database()),
          transitions_(
              connection_, clock, file_.payload_hash_key(),
              {.database = file_.database().getFilename(),
               .keys = options_.encryption_keys,
               .lease = options_.lease,
               .make_change = [this](const Change& change) { return tables_.make(change); }}) {
        take_over();
        if (options_.checkpoint_frames > 0) file_.checkpoint_every(options_.checkpoint_frames);
        if (lock_) {
            for (const auto& file :
                 {path, std::filesystem::path(path.string() + "-wal"), FileLock::path_of(path)})
                house_.emplace_back(file);
        }
        GroupCommitOptions commits{.writer_thread = options_.writer_thread,
                                   .after_commit = [this] { clean_up(); },
                                   .on_commit = options_.on_commit,
                                   .on_fatal = options_.on_fatal,
                                   .before_commit =
                                       [this] {
                                           refuse_if_not_ours();
                                           file_.make_log_room();
                                       },
                                   .settle = [this] { transitions_.settle(); },
                                   .on_undone = [this] { transitions_.forget_unsettled(); },
                                   .acknowledge_before_commit = options_.acknowledge_before_commit};
        if (reserve_) {
            commits.on_full = [this] { make_room(); };
            commits.has_room = [this] { return reserve_->keep(); };
            commits.begins_full = !reserve_->keep();
        }
        commits_ = std::make_unique<GroupCommit>(file_.database(), std::move(commits));
        if (transitions_.restored() && options_.on_restored)
            options_.on_restored(told(*transitions_.restored()));
    }

    ~SqliteStore() override {
        commits_->flush();
        const bool failed = commits_->health() == GroupCommit::Health::failed;
        commits_.reset();
        try {
            if (failed) {
                file_.leave_as_it_is();
                return;
            }
            refuse_if_not_ours();
            transitions_.end_ownership();
            file_.checkpoint_all();
        } catch (const StoreError&) {
            // What lies under our names now, a write-ahead log included, is another's.
            file_.leave_as_it_is();
        } catch (const std::exception&) {
            // An unclean end is what every start is prepared for; a failed sync cannot be retried.
            file_.leave_as_it_is();
        }
    }

    std::future<Accepted> accept(std::optional<NewEvent> event, std::optional<NewInstance> instance,
                                 bool claim) override {
        if (is_rationed()) return refused<Accepted>(full_now());
        BodyHashes hashes;
        std::size_t bytes = small_item_bytes;
        if (event) {
            hashes.event = keyed_hash(file_.payload_hash_key(), event->body);
            bytes += event->body.size();
        }
        if (instance && instance->input) {
            hashes.input = keyed_hash(file_.payload_hash_key(), *instance->input);
            bytes += instance->input->size();
        }
        return commits_->submit<Accepted>(
            [this, event = std::move(event), instance = std::move(instance), claim, hashes] {
                return transitions_.accept(event, instance, claim, hashes);
            },
            bytes);
    }

    std::future<ClaimResult> claim(ClaimRequest request) override {
        if (request.limit > 0 && is_rationed()) return refused<ClaimResult>(full_now());
        return commits_->submit<ClaimResult>(
            [this, request] { return transitions_.claim(request); }, small_item_bytes);
    }

    std::future<Advanced> advance(Advance advance) override {
        const WriteOptions options{
            .lazy = advance.lazy, .may_fail = static_cast<bool>(advance.change), .takes_up = true};
        if (advance.to && advance.to->claim_next && is_rationed()) advance.to->claim_next = false;
        std::vector<EntryBytes> ready;
        ready.reserve(advance.entries.size());
        for (const NewEntry& entry : advance.entries)
            ready.emplace_back(entry, file_.payload_hash_key());
        const std::size_t bytes = bytes_of(advance);
        return commits_->submit<Advanced>(
            [this, advance = std::move(advance), ready = std::move(ready)] {
                return transitions_.advance(advance, ready);
            },
            bytes, options);
    }

    std::future<Renewed> renew(std::vector<std::int64_t> instances) override {
        return commits_->submit<Renewed>(
            [this, instances = std::move(instances)] { return transitions_.renew(instances); },
            small_item_bytes);
    }

    std::future<Resumed> resume(ResumeRequest request) override {
        return commits_->submit<Resumed>(
            [this, request = std::move(request)] { return transitions_.resume(request); },
            small_item_bytes);
    }

    std::future<Cancelled> cancel(CancelRequest request) override {
        return commits_->submit<Cancelled>(
            [this, request = std::move(request)] { return transitions_.cancel(request); },
            small_item_bytes);
    }

    std::future<StepDecided> decide(StepDecision decision) override {
        const std::size_t bytes = decision.result.value_or("").size() + small_item_bytes;
        return commits_->submit<StepDecided>(
            [this, decision = std::move(decision)] { return transitions_.decide(decision); },
            bytes);
    }

    std::future<Signalled> signal(SignalRequest request) override {
        const std::size_t bytes = request.payload.size() + small_item_bytes;
        return commits_->submit<Signalled>(
            [this, request = std::move(request)] { return transitions_.signal(request); }, bytes);
    }

    std::future<Published> published(std::string instance) override {
        return commits_->submit<Published>(
            [this, instance = std::move(instance)] { return transitions_.published(instance); },
            small_item_bytes);
    }

    std::future<Moved> move(MoveRequest request) override {
        return commits_->submit<Moved>(
            [this, request = std::move(request)] { return transitions_.move(request); },
            small_item_bytes);
    }

    std::future<Operated> operate(OperateRequest operation) override {
        const std::size_t bytes = operation.payload.size() + small_item_bytes;
        return commits_->submit<Operated>(
            [this, operation = std::move(operation)] { return transitions_.operate(operation); },
            bytes);
    }

    std::future<Purged> purge(PurgeRequest request) override {
        return commits_->submit<Purged>(
            [this, request = std::move(request)] { return transitions_.purge(request); },
            small_item_bytes);
    }

    std::future<Forgotten> forget(ForgetRequest request) override {
        return commits_->submit<Forgotten>(
            [this, request = std::move(request)] { return transitions_.forget(request); },
            small_item_bytes);
    }

    std::future<bool> sweep(bool rewrite) override {
        // A checkpoint cannot be part of a transaction: it follows the next one.
        Sweep sweep{.rewrite = rewrite};
        auto future = sweep.swept.get_future();
        {
            std::lock_guard lock(sweeps_mutex_);
            sweeps_.push_back(std::move(sweep));
        }
        try {
            commits_->submit<void>([] {}, small_item_bytes).get();
        } catch (const StoreError&) {
            end_sweeps(std::current_exception());
        }
        return future;
    }

    std::future<Rotated> rotate_keys(RotateRequest request) override {
        return commits_->submit<Rotated>(
            [this, request = std::move(request)] { return transitions_.rotate_keys(request); },
            small_item_bytes);
    }

    std::future<void> define_schedules(std::vector<Schedule> schedules) override {
        return commits_->submit<void>(
            [this, schedules = std::move(schedules)] { transitions_.define_schedules(schedules); },
            small_item_bytes);
    }

    std::future<ScheduleChanged> change_schedule(ScheduleChange change) override {
        return commits_->submit<ScheduleChanged>(
            [this, change = std::move(change)] { return transitions_.change_schedule(change); },
            small_item_bytes);
    }

    bool has_tables() const override { return true; }

    std::future<std::string> write(Change change) override {
        if (is_rationed()) return refused<std::string>(full_now());
        return commits_->submit<std::string>(
            [this, change = std::move(change)] { return transitions_.write(change); },
            small_item_bytes, {.may_fail = true});
    }

    std::future<ProviderChanged> change_provider(ProviderChange change) override {
        return commits_->submit<ProviderChanged>(
            [this, change = std::move(change)] { return transitions_.change_provider(change); },
            small_item_bytes);
    }

    void flush() override { commits_->flush(); }

    Health health() const override {
        switch (commits_->health()) {
            case GroupCommit::Health::ok:
                return Health::ok;
            case GroupCommit::Health::full:
                return Health::full;
            case GroupCommit::Health::failed:
                return Health::failed;
        }
        return Health::failed;
    }

    bool await_room(std::stop_token stop) override {
        if (!options_.writer_thread) return options_.on_full && options_.on_full();
        // Trying again is the probe: whoever waits here hands its work in once more.
        constexpr Ms pause{500};
        std::mutex mutex;
        std::condition_variable_any wakeup;
        std::unique_lock lock(mutex);
        wakeup.wait_for(lock, stop, pause, [] { return false; });
        return !stop.stop_requested();
    }

  private:
    void take_over() {
        SQLite::Transaction transaction(file_.database(), SQLite::TransactionBehavior::IMMEDIATE);
        transitions_.take_ownership(options_.program);
        transaction.commit();
    }

    struct Sweep {
        bool rewrite = false;
        std::promise<bool> swept = {};
    };

    // On the writer, after each commit.
    void clean_up() {
        file_.checkpoint_if_due();
        std::vector<Sweep> sweeps;
        {
            std::lock_guard lock(sweeps_mutex_);
            sweeps.swap(sweeps_);
        }
        if (sweeps.empty()) return;
        try {
            for (const Sweep& sweep : sweeps)
                if (sweep.rewrite) file_.rewrite();
            const bool empty = file_.checkpoint_all() && file_.wal_is_empty();
            for (Sweep& sweep : sweeps) sweep.swept.set_value(empty);
        } catch (const SQLite::Exception& error) {
            const bool full = (error.getErrorCode() & 0xff) == SQLITE_FULL;
            const auto kind = full ? StoreError::Kind::full : StoreError::Kind::failed;
            for (Sweep& sweep : sweeps)
                sweep.swept.set_exception(std::make_exception_ptr(StoreError(kind, error.what())));
            // No room to write the whole file twice: what is committed stands all the same.
            if (!full) throw;
        }
    }

    // Nothing was committed, so nothing follows.
    void end_sweeps(const std::exception_ptr& error) {
        std::lock_guard lock(sweeps_mutex_);
        for (Sweep& sweep : sweeps_) sweep.swept.set_exception(error);
        sweeps_.clear();
    }

    // The reserve was given back for what is under way to end and for clean-up: nothing else may
    // eat it.
    bool is_rationed() const { return reserve_ && commits_->health() == GroupCommit::Health::full; }

    // On the writer, after a commit met a full disk.
    void make_room() {
        reserve_->release();
        file_.checkpoint_all();
    }

    // On the writer, before each commit. What is written to a file that has no name any more, or
    // beside another owner, must not be acknowledged.
    void refuse_if_not_ours() {
        for (const FileIdentity& file : house_)
            if (!file.is_still_there())
                throw StoreError(
                    StoreError::Kind::failed,
                    fmt::format("{} was removed or replaced while it was in use: nothing more is "
                                "written; put the right file in its place and start again",
                                file.path().string()));
        if (!transitions_.is_owner())
            throw StoreError(StoreError::Kind::failed,
                             fmt::format("{} was taken over by another process: this one must not "
                                         "write any more, and ends",
                                         options_.database.string()));
    }

    const SqliteOptions options_;
    std::unique_ptr<FileLock> lock_;  // outlives every connection
    std::unique_ptr<DiskReserve> reserve_;
    std::vector<FileIdentity> house_;
    SqliteFile file_;
    UserTables tables_;
    SqliteConnection connection_;
    Transitions transitions_;
    std::mutex sweeps_mutex_;  // guards sweeps_
    std::vector<Sweep> sweeps_;
    std::unique_ptr<GroupCommit> commits_;
};

}  // namespace

std::unique_ptr<Store> open_sqlite_store(SqliteOptions options, Clock& clock) {
    const bool real_file = options.vfs.empty();
    const auto path = real_file ? resolved(options.database) : options.database;
    std::error_code missing;
    if (real_file && !options.create && !std::filesystem::exists(path, missing))
        throw OpenError(
            fmt::format("there is no database at {}: name it with --database", path.string()));
    auto lock = real_file ? std::make_unique<FileLock>(path) : nullptr;
    try {
        return std::make_unique<SqliteStore>(std::move(options), path, std::move(lock), clock);
    } catch (const SQLite::Exception& error) {
        if ((error.getErrorCode() & 0xff) == SQLITE_FULL) throw OpenError(no_room_to_open(path));
        throw OpenError(fmt::format("cannot take over {}: {} (SQLite code {})", path.string(),
                                    error.what(), error.getExtendedErrorCode()));
    }
}

}  // namespace steplog
