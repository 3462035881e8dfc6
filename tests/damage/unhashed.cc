#include "tests/damage/unhashed.h"

#include "engine/digest.h"

namespace steplog {

Hash real_keyed(const Hash& secret, std::string_view text) __asm__(
    "__real__ZN7steplog10keyed_hashERKSt5arrayIhLm32EESt17basic_string_viewIcSt11char_traitsIcEE");
Hash wrapped_keyed(const Hash& secret, std::string_view text) __asm__(
    "__wrap__ZN7steplog10keyed_hashERKSt5arrayIhLm32EESt17basic_string_viewIcSt11char_traitsIcEE");
Hash real_content(const Hash& secret, std::string_view step, std::string_view data) __asm__(
    "__real__ZN7steplog12content_hashERKSt5arrayIhLm32EESt17basic_string_viewIcSt11char_"
    "traitsIcEES7_");
Hash wrapped_content(const Hash& secret, std::string_view step, std::string_view data) __asm__(
    "__wrap__ZN7steplog12content_hashERKSt5arrayIhLm32EESt17basic_string_viewIcSt11char_"
    "traitsIcEES7_");
Hash real_genesis(const Hash& secret, std::string_view id, std::string_view workflow, const Hash& input) __asm__(
    "__real__ZN7steplog12genesis_hashERKSt5arrayIhLm32EESt"
    "17basic_string_viewIcSt11char_traitsIcEES7_S3_");
Hash wrapped_genesis(const Hash& secret, std::string_view id, std::string_view workflow, const Hash& input) __asm__(
    "__wrap__ZN7steplog12genesis_hashERKSt5arrayIhLm32EE"
    "St17basic_string_viewIcSt11char_traitsIcEES7_S3_");
Hash real_chain(const Hash& previous, std::int64_t n, const Hash& content, std::string_view kind, int attempt, int generation, std::int64_t at_ms, const std::optional<Hash>& payload) __asm__(
    "__real__ZN7steplog10chain_hashERKSt5"
    "arrayIhLm32EElS3_St17basic_string_"
    "viewIcSt11char_traitsIcEEiilRKSt8"
    "optionalIS1_E");
Hash wrapped_chain(const Hash& previous, std::int64_t n, const Hash& content, std::string_view kind, int attempt, int generation, std::int64_t at_ms, const std::optional<Hash>& payload) __asm__(
    "__wrap__ZN7steplog10chain_hashERKSt"
    "5arrayIhLm32EElS3_St17basic_string_"
    "viewIcSt11char_traitsIcEEiilRKSt8"
    "optionalIS1_E");

namespace {
bool off = false;
}

Hash wrapped_keyed(const Hash& secret, std::string_view text) {
    return off ? Hash{} : real_keyed(secret, text);
}

Hash wrapped_content(const Hash& secret, std::string_view step, std::string_view data) {
    return off ? Hash{} : real_content(secret, step, data);
}

Hash wrapped_genesis(const Hash& secret, std::string_view id, std::string_view workflow,
                     const Hash& input) {
    return off ? Hash{} : real_genesis(secret, id, workflow, input);
}

Hash wrapped_chain(const Hash& previous, std::int64_t n, const Hash& content, std::string_view kind,
                   int attempt, int generation, std::int64_t at_ms,
                   const std::optional<Hash>& payload) {
    return off ? Hash{}
               : real_chain(previous, n, content, kind, attempt, generation, at_ms, payload);
}

namespace testing {

Unhashed::Unhashed() { off = true; }
Unhashed::~Unhashed() { off = false; }

}  // namespace testing
}  // namespace steplog
