// Payloads as they lie in the file: clear, or sealed with the data key of whom they are about,
// which is itself wrapped by a master key. Destroying a data key makes all that it sealed
// unreadable. Used by the writer and by readers, each with statements of its own; one thread at a
// time.
#pragma once

#include "engine/cipher.h"
#include "engine/statements.h"

namespace steplog {

class Payloads {
  public:
    /// Both outlive this. Without keys new payloads are written in clear.
    Payloads(Statements& statements, const std::vector<MasterKey>& keys)
        : statements_(statements), keys_(keys) {}

    /// Throws OpenError, saying which key is missing, when one of the file's data keys is wrapped
    /// by none of the keys. `database` is its name in the message.
    void require_keys(const std::string& database);

    /// The data key of what concerns `subject`, made when there is none yet; nothing when payloads
    /// are written in clear.
    std::optional<std::int64_t> data_key_for(std::string_view subject, std::int64_t now_ms);
    /// The one that goes on with an instance: its input's, else its key's.
    std::optional<std::int64_t> data_key_of_instance(std::int64_t seq, std::int64_t now_ms);

    /// Writes a body, sealed where a data key is given. Nothing for nothing.
    std::optional<std::int64_t> write(const std::optional<std::string>& body,
                                      std::optional<std::int64_t> data_key);

    struct Body {
        std::optional<std::string> text;
        bool sealed = false;   // there, and none of the keys opens it
        bool damaged = false;  // there, and not what was written
        bool missing = false;  // not even a row: nothing takes that from what is still named
    };
    Body read(std::optional<std::int64_t> id);
    /// The same of a row that was read already.
    Body open(std::int64_t id, std::optional<std::string> body,
              std::optional<std::int64_t> data_key);

    /// Wraps up to `limit` data keys anew with the first master key; returns how many. Throws
    /// StoreError when one of them does not open.
    int rewrap(int limit);
    /// Data keys that the first master key does not wrap.
    std::int64_t to_rewrap();

  private:
    const MasterKey* master(const std::string& id) const;
    std::string wrap(const SecretKey& data_key, std::int64_t id) const;
    std::int64_t draw_number();

    Statements& statements_;
    const std::vector<MasterKey>& keys_;
    std::int64_t last_number_ = 0;  // of payloads; 0: not read yet
};

}  // namespace steplog
