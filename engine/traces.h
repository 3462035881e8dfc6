// Where a customer's name stands in a database: what forgetting must take. Reads only; used by the
// writer, in the transaction that forgets.
#pragma once

#include <set>

#include "engine/payloads.h"

namespace steplog {

/// Whether `text` holds the id as a whole: "cus_1" is in "welcome_email/cus_1" and not in
/// "welcome_email/cus_12".
bool holds_word(const std::string& text, const std::string& word);

/// Rows by number, once keys by key.
struct Traces {
    std::set<std::int64_t> events, instances, payloads, data_keys;
    std::set<std::string> once_keys;
    std::set<std::string> words;          // the ids that must not be found any more
    std::vector<std::string> unfinished;  // ids of instances that have not ended, some of them

    bool empty() const {
        return events.empty() && instances.empty() && once_keys.empty() && data_keys.empty();
    }
    /// Whether the text holds one of the words.
    bool named_in(const std::string& text) const;
};

/// Everything that bears the name of `subject` (a customer's id, or what stands for a guest): by
/// the inbox's subject, by the last part of instances' keys, by the parts of their ids, by once
/// keys; and by what stood for the customer before it was known, like the session of a purchase.
Traces find_traces(Statements& statements, Payloads& payloads, const std::string& subject);

}  // namespace steplog
