// Group commit: whoever wants something durable hands it in and waits; the writer takes all that is
// queued, runs it in one transaction, commits (synced), and wakes everyone. Used by the SQLite
// store only. submit may be called from any thread; everything that touches the connection runs on
// the writer thread, or, without one, in the thread that hands in.
#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <thread>

#include "engine/errors.h"

namespace steplog {

/// Thrown by work that ended the transaction around it, as a program's own SQL can: the item fails
/// with the cause, and all others of the batch run again.
class TransactionEnded : public std::exception {
  public:
    template <class Cause>
    explicit TransactionEnded(Cause cause) : cause_(std::make_exception_ptr(std::move(cause))) {}
    const char* what() const noexcept override { return "the transaction has ended"; }
    const std::exception_ptr& cause() const { return cause_; }

  private:
    std::exception_ptr cause_;
};

struct GroupCommitOptions {
    bool writer_thread = true;
    std::size_t items_max = 256;                 // of one transaction
    std::size_t bytes_max = 4 * 1024 * 1024;     // of one transaction
    std::chrono::microseconds lazy_delay{1000};  // how long a lazy item waits for company
    std::function<void()> after_commit =
        {};  // on the writer, when all waiters were woken: checkpoints
    std::function<void(std::size_t items, std::chrono::microseconds took)> on_commit =
        {};  // the same moment; from the transaction's begin to its sync
    std::function<void(const std::string&)> on_fatal = {};
    // On the writer, inside the transaction, before it is committed: throws StoreError::failed when
    // this process must not write any more. Then nothing is written, now or ever.
    std::function<void()> before_commit = {};
    // On the writer, before each item that does not take up what the one before it put off, and at
    // the end of each transaction and savepoint: what is put off is written…
    std::function<void()> settle = {};
    std::function<void()> on_undone = {};  // … or was rolled back with the rest
    std::function<void()> on_full = {};  // on the writer, after a commit met a full disk: make room
    // On the writer, while the disk counts as full: whether it does so no longer. Asked after each
    // commit and every room_pause; without it a commit is proof enough.
    std::function<bool()> has_room = {};
    std::chrono::milliseconds room_pause{1000};
    bool begins_full = false;
    bool acknowledge_before_commit = false;  // negative control of the power-loss tests
};

/// How something is written.
struct WriteOptions {
    bool lazy = false;      // waits up to lazy_delay for company
    bool may_fail = false;  // is likely to fail alone: the others need not run again then
    bool takes_up = false;  // goes on from what the item before it put off
};

class GroupCommit {
  public:
    GroupCommit(SQLite::Database& database, GroupCommitOptions options);
    /// Commits what is queued, then ends the thread.
    ~GroupCommit();

    /// Runs `work` inside the next transaction. The future is ready when that is committed and
    /// synced; it throws StoreError: fenced and constraint concern this item alone, full and failed
    /// the whole batch, of which then nothing is written. `work` may run again when another's has
    /// failed.
    template <class T>
    std::future<T> submit(std::function<T()> work, std::size_t bytes, WriteOptions options = {}) {
        auto item = std::make_unique<ItemOf<T>>(std::move(work), bytes, options);
        auto future = item->promise.get_future();
        enqueue(std::move(item));
        return future;
    }

    /// Commits what is queued, lazy items included; returns when that is done.
    void flush();

    enum class Health { ok, full, failed };
    Health health() const;

  private:
    struct Item {
        Item(std::size_t item_bytes, WriteOptions item_options)
            : bytes(item_bytes), options(item_options) {}
        virtual ~Item() = default;
        virtual void run() = 0;
        virtual void succeed() = 0;
        virtual void fail(std::exception_ptr error) = 0;
        std::size_t bytes;
        WriteOptions options;
        std::exception_ptr failed_alone;
        bool ended_transaction = false;
    };
    template <class T>
    struct ItemOf : Item {
        ItemOf(std::function<T()> item_work, std::size_t item_bytes, WriteOptions item_options)
            : Item(item_bytes, item_options), work(std::move(item_work)) {}
        void run() override {
            if constexpr (std::is_void_v<T>)
                work();
            else
                result = work();
        }
        void succeed() override {
            if constexpr (std::is_void_v<T>)
                promise.set_value();
            else
                promise.set_value(std::move(result));
        }
        void fail(std::exception_ptr error) override { promise.set_exception(std::move(error)); }
        std::function<T()> work;
        std::promise<T> promise;
        std::conditional_t<std::is_void_v<T>, char, T> result{};
    };
    using Batch = std::vector<std::unique_ptr<Item>>;

    void enqueue(std::unique_ptr<Item> item);
    void write_until_stopped();
    Batch take_batch();
    void commit(Batch& batch);
    void run_in_transaction(Batch& batch);
    bool run_together(Batch& batch);
    bool run_without_savepoint(const std::function<void()>& work);
    void settle();
    bool run_apart(Batch& batch);
    void run_item(Item& item);
    StoreError give_up(const SQLite::Exception& error);
    StoreError end_for_good(const std::string& message);
    void roll_back();
    void look_for_room();

    SQLite::Database& database_;
    const GroupCommitOptions options_;

    mutable std::mutex mutex_;  // guards what follows
    std::condition_variable queued_;
    std::condition_variable drained_;
    std::deque<std::unique_ptr<Item>> queue_;
    std::size_t urgent_ = 0;  // items in the queue that are not lazy
    bool committing_ = false;
    bool stopping_ = false;
    bool hurry_ = false;  // a flush waits: do not wait for company
    Health health_ = Health::ok;
    std::string failure_;

    std::thread writer_;
};

}  // namespace steplog
