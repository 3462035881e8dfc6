// Whether this build is one for sanitizers: for the few tests whose subject such a build changes.
#pragma once

namespace steplog::testing {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool built_with_sanitizers = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
inline constexpr bool built_with_sanitizers = true;
#else
inline constexpr bool built_with_sanitizers = false;
#endif
#else
inline constexpr bool built_with_sanitizers = false;
#endif

}  // namespace steplog::testing
