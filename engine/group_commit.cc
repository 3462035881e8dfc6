#include "engine/group_commit.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <algorithm>

namespace steplog {
namespace {

// Errors that concern the statement that met them, not the transaction around it.
bool concerns_item_alone(const SQLite::Exception& error) {
    const int code = error.getErrorCode() & 0xff;
    return code == SQLITE_CONSTRAINT || code == SQLITE_TOOBIG || code == SQLITE_MISMATCH ||
           code == SQLITE_RANGE;
}

constexpr const char* no_memory =
    "there is no memory left; the process must end, and a restart recovers what was committed";

}  // namespace

GroupCommit::GroupCommit(SQLite::Database& database, GroupCommitOptions options)
    : database_(database),
      options_(std::move(options)),
      health_(options_.begins_full ? Health::full : Health::ok) {
    if (options_.writer_thread) writer_ = std::thread([this] { write_until_stopped(); });
}

GroupCommit::~GroupCommit() {
    if (writer_.joinable()) {
        {
            std::lock_guard lock(mutex_);
            stopping_ = true;
        }
        queued_.notify_one();
        writer_.join();
    } else {
        flush();
    }
}

void GroupCommit::enqueue(std::unique_ptr<Item> item) {
    const bool lazy = item->options.lazy;
    {
        std::unique_lock lock(mutex_);
        if (health_ == Health::failed || stopping_) {
            const auto error =
                health_ == Health::failed
                    ? StoreError(StoreError::Kind::failed, failure_)
                    : StoreError(StoreError::Kind::closed, "the store is shutting down");
            lock.unlock();
            item->fail(std::make_exception_ptr(error));
            return;
        }
        queue_.push_back(std::move(item));
        if (!lazy) ++urgent_;
    }
    if (options_.writer_thread)
        queued_.notify_one();
    else if (!lazy)
        flush();
}

void GroupCommit::flush() {
    if (!options_.writer_thread) {
        while (true) {
            Batch batch;
            {
                std::lock_guard lock(mutex_);
                if (queue_.empty()) return;
                batch = take_batch();
            }
            commit(batch);
        }
    }
    std::unique_lock lock(mutex_);
    hurry_ = true;
    queued_.notify_one();
    drained_.wait(lock, [this] { return queue_.empty() && !committing_; });
}

GroupCommit::Health GroupCommit::health() const {
    std::lock_guard lock(mutex_);
    return health_;
}

GroupCommit::Batch GroupCommit::take_batch() {
    Batch batch;
    // First: without room for the next, those that were taken already would be lost, and what
    // builds on them be committed without them.
    batch.reserve(std::min<std::size_t>(queue_.size(), options_.items_max));
    std::size_t bytes = 0;
    while (!queue_.empty() && batch.size() < options_.items_max &&
           (batch.empty() || bytes + queue_.front()->bytes <= options_.bytes_max)) {
        bytes += queue_.front()->bytes;
        if (!queue_.front()->options.lazy) --urgent_;
        batch.push_back(std::move(queue_.front()));
        queue_.pop_front();
    }
    return batch;
}

void GroupCommit::write_until_stopped() {
    std::unique_lock lock(mutex_);
    while (true) {
        const auto wanted = [this] { return !queue_.empty() || stopping_ || hurry_; };
        if (health_ != Health::full) {
            queued_.wait(lock, wanted);
        } else if (!queued_.wait_for(lock, options_.room_pause, wanted)) {
            lock.unlock();
            look_for_room();
            lock.lock();
            continue;
        }
        if (urgent_ == 0 && !stopping_ && !hurry_)
            queued_.wait_for(lock, options_.lazy_delay,
                             [this] { return urgent_ > 0 || stopping_ || hurry_; });
        if (queue_.empty()) {
            hurry_ = false;
            drained_.notify_all();
            if (stopping_) return;
            continue;
        }
        Batch batch = take_batch();
        committing_ = true;
        lock.unlock();
        commit(batch);
        lock.lock();
        committing_ = false;
        if (queue_.empty()) {
            hurry_ = false;
            drained_.notify_all();
        }
    }
}

void GroupCommit::commit(Batch& batch) {
    bool answered = false;
    const auto begun = std::chrono::steady_clock::now();
    std::chrono::microseconds took{0};
    const auto answer = [&] {
        for (auto& item : batch) {
            if (item->failed_alone)
                item->fail(item->failed_alone);
            else
                item->succeed();
        }
        answered = true;
    };
    const auto refuse = [&](const StoreError& reason) {
        if (answered) return;
        for (auto& item : batch) item->fail(std::make_exception_ptr(reason));
    };
    try {
        if (health() == Health::failed) throw StoreError(StoreError::Kind::failed, failure_);
        run_in_transaction(batch);
        if (options_.before_commit) options_.before_commit();
        if (options_.acknowledge_before_commit) answer();
        database_.exec("COMMIT");
        took = std::chrono::duration_cast<std::chrono::microseconds>(
            std::chrono::steady_clock::now() - begun);
        look_for_room();
    } catch (const SQLite::Exception& error) {
        refuse(give_up(error));
        return;
    } catch (const StoreError& error) {
        roll_back();
        refuse(end_for_good(error.what()));
        return;
    } catch (const std::bad_alloc&) {
        roll_back();
        refuse(end_for_good(no_memory));
        return;
    }
    if (!answered) answer();
    if (options_.on_commit) options_.on_commit(batch.size(), took);
    batch.clear();
    if (!options_.after_commit) return;
    try {
        options_.after_commit();
    } catch (const SQLite::Exception& error) {
        give_up(error);
    } catch (const std::bad_alloc&) {
        end_for_good(no_memory);
    }
}

// A savepoint costs a copy of each page that its item touches, and hardly any item fails.
void GroupCommit::run_in_transaction(Batch& batch) {
    database_.exec("BEGIN IMMEDIATE");
    if (run_together(batch)) return;
    do {
        roll_back();
        database_.exec("BEGIN IMMEDIATE");
    } while (!run_apart(batch));
}

// False when one of them failed: who knows what of it was written.
bool GroupCommit::run_together(Batch& batch) {
    const auto settled = [this] { return run_without_savepoint([this] { settle(); }); };
    for (auto& item : batch) {
        const WriteOptions& options = item->options;
        if ((!options.takes_up || options.may_fail) && !settled()) return false;
        if (!options.may_fail) {
            if (!run_without_savepoint([&] { item->run(); })) return false;
            continue;
        }
        run_item(*item);
        if (item->ended_transaction) return false;
    }
    return settled();
}

bool GroupCommit::run_without_savepoint(const std::function<void()>& work) {
    try {
        work();
        return true;
    } catch (const SQLite::Exception& error) {
        if (!concerns_item_alone(error)) throw;
        return false;
    } catch (const std::bad_alloc&) {
        throw;  // as SQLITE_NOMEM: who knows what else was left half done
    } catch (const std::exception&) {
        return false;
    }
}

void GroupCommit::settle() {
    if (options_.settle) options_.settle();
}

// Each in its own savepoint. False when one of them ended the transaction: then nothing of the
// batch is written yet.
bool GroupCommit::run_apart(Batch& batch) {
    for (auto& item : batch) {
        if (item->ended_transaction) continue;
        item->failed_alone = nullptr;
        run_item(*item);
        if (item->ended_transaction) return false;
    }
    return true;
}

// One item in its own savepoint. What it may not survive alone is thrown on: SQLite rolls the whole
// transaction back on a full disk, savepoints and all, and the rest would then commit one by one.
void GroupCommit::run_item(Item& item) {
    database_.exec("SAVEPOINT item");
    try {
        item.run();
        settle();
    } catch (const SQLite::Exception& error) {
        const bool stands = sqlite3_get_autocommit(database_.getHandle()) == 0;
        if (!stands || !concerns_item_alone(error)) throw;
        item.failed_alone = std::make_exception_ptr(
            StoreError(StoreError::Kind::constraint,
                       fmt::format("the store refused the write: {}", error.what())));
    } catch (const std::bad_alloc&) {
        throw;  // as SQLITE_NOMEM: who knows what else was left half done
    } catch (const TransactionEnded& ended) {
        item.failed_alone = ended.cause();
        item.ended_transaction = true;
        return;
    } catch (const std::exception&) {
        item.failed_alone = std::current_exception();
    }
    if (item.failed_alone) {
        database_.exec("ROLLBACK TO item");
        if (options_.on_undone) options_.on_undone();
    }
    database_.exec("RELEASE item");
}

// While the disk counts as full: asks whether it does so no longer.
void GroupCommit::look_for_room() {
    if (health() != Health::full) return;
    if (options_.has_room && !options_.has_room()) return;
    std::lock_guard lock(mutex_);
    if (health_ == Health::full) health_ = Health::ok;
}

void GroupCommit::roll_back() {
    if (options_.on_undone) options_.on_undone();
    sqlite3* handle = database_.getHandle();
    if (sqlite3_get_autocommit(handle) == 0)
        sqlite3_exec(handle, "ROLLBACK", nullptr, nullptr, nullptr);
}

// Ends the transaction and decides what the error means for the store.
StoreError GroupCommit::give_up(const SQLite::Exception& error) {
    roll_back();
    if ((error.getErrorCode() & 0xff) != SQLITE_FULL)
        return end_for_good(fmt::format(
            "the database cannot be written: {} (SQLite code {}); the process must end, and a "
            "restart recovers what was committed",
            error.what(), error.getExtendedErrorCode()));
    {
        std::lock_guard lock(mutex_);
        if (health_ == Health::failed) return {StoreError::Kind::failed, failure_};
        health_ = Health::full;
    }
    try {
        if (options_.on_full) options_.on_full();
    } catch (const SQLite::Exception& worse) {
        if ((worse.getErrorCode() & 0xff) != SQLITE_FULL) return give_up(worse);
    }
    return {StoreError::Kind::full, "the disk is full: nothing was written; free some space"};
}

// From now on nothing is written. The first reason is kept.
StoreError GroupCommit::end_for_good(const std::string& message) {
    {
        std::lock_guard lock(mutex_);
        if (health_ == Health::failed) return {StoreError::Kind::failed, failure_};
        health_ = Health::failed;
        failure_ = message;
    }
    if (options_.on_fatal) options_.on_fatal(message);
    return {StoreError::Kind::failed, message};
}

}  // namespace steplog
