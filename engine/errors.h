// What a step may throw, what a workflow may catch, and what the store throws. Which one to throw
// decides what the engine does next; see the table in engine/README.md.
#pragma once

#include <exception>
#include <stdexcept>
#include <utility>

#include "engine/types.h"

namespace steplog {

/// The attempt did not succeed and may be made again. `outcome` says whether the effect may have
/// happened all the same; when in doubt, unknown. `message` never holds personal data or secrets.
class RetryableError : public std::runtime_error {
  public:
    /// Whose trouble it is. `provider`: it is out of order, which counts towards its breaker.
    /// `request`: the provider works, and this request has to wait. `our_key`: it does not take our
    /// credentials, which opens its breaker at once.
    enum class Trouble { provider, request, our_key };
    struct Details {
        std::string code = "unavailable";  // short, stable, for filters: "rate_limited", "timeout"
        Outcome outcome = Outcome::unknown;
        std::optional<Ms> retry_after = {};  // the provider's wish; used instead of the backoff
        bool remembered = false;   // the provider stored this answer under the idempotency key
        bool interrupted = false;  // by our own shutdown: uses up no attempt
        Trouble trouble = Trouble::provider;
        std::string provider = {};  // whose; absent: the step's
    };
    RetryableError(const std::string& message, Details details)
        : std::runtime_error(message), details_(std::move(details)) {}
    const Details& details() const { return details_; }

  private:
    Details details_;
};

/// The provider says no and will keep saying no. The effect did not happen.
class PermanentError : public std::runtime_error {
  public:
    PermanentError(std::string code, const std::string& message)
        : std::runtime_error(message), code_(std::move(code)) {}
    const std::string& code() const { return code_; }

  private:
    std::string code_;
};

/// What the workflow sees of a step that failed for good. Uncaught, the workflow's policy decides.
class StepFailed : public PermanentError {
  public:
    StepFailed(std::string step, std::string code, const std::string& message)
        : PermanentError(std::move(code), message), step_(std::move(step)) {}
    const std::string& step() const { return step_; }

  private:
    std::string step_;
};

/// What a parent sees of a child that it awaits and that failed or was cancelled.
class ChildFailed : public PermanentError {
  public:
    ChildFailed(std::string child, std::string code, const std::string& message)
        : PermanentError(std::move(code), message), child_(std::move(child)) {}
    const std::string& child() const { return child_; }

  private:
    std::string child_;  // id
};

/// Why the store could not do what was asked.
class StoreError : public std::runtime_error {
  public:
    enum class Kind {
        full,        // no room: nothing of the batch was written; works again when there is
        fenced,      // the instance was claimed by someone else since: stop working on it
        constraint,  // the write contradicts what is stored; nothing of it was written
        failed,      // an I/O error or damage: this store never writes again, end the process
        closed       // the store is shutting down
    };
    StoreError(Kind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
    Kind kind() const { return kind_; }

  private:
    Kind kind_;
};

/// A change of a program's own tables that the store does not let happen: it touches what is not
/// the program's, ends the transaction, or takes too long. Nothing of it was written.
class ChangeRefused : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// Carries what a change threw past the store. Nothing of the change was written.
class ChangeThrew : public std::exception {
  public:
    explicit ChangeThrew(std::exception_ptr cause)
        : cause_(std::move(cause)) {}  // NOLINT(bugprone-throw-keyword-missing): it is kept
    const char* what() const noexcept override { return "a change of a program's tables threw"; }
    [[noreturn]] void rethrow() const { std::rethrow_exception(cause_); }

  private:
    std::exception_ptr cause_;
};

/// A database that cannot be opened: locked by another program, no database, a newer schema. The
/// message is one line for a person and says what to do.
class OpenError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// …because another program owns it: ask that one, through its control socket.
class LockedError : public OpenError {
  public:
    using OpenError::OpenError;
};

/// Why nothing could be read. The message is one line for a person and says what to do.
class InspectError : public std::runtime_error {
  public:
    enum class Kind {
        unreadable,  // no database, another kind of file, damaged, no permission
        not_found,   // no such instance or customer
        ambiguous,   // a shortened id that fits several instances
        too_slow     // the question takes longer than a read transaction may
    };
    InspectError(Kind kind, const std::string& message)
        : std::runtime_error(message), kind_(kind) {}
    Kind kind() const { return kind_; }

  private:
    Kind kind_;
};

}  // namespace steplog
