// What the fuzzers share: promises that end the process when they are broken, and ways to take an
// input apart. A fuzzer is one function over bytes, LLVMFuzzerTestOneInput: libFuzzer's entry (by
// clang, preset fuzz), and the regression test's over the corpus in the tree (corpus_test.cc, where
// each is compiled under the name of its file).
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace steplog::fuzz {

/// Ends the process where a promise is broken, naming the place.
inline void hold(bool promise, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    if (promise) return;
    std::fprintf(stderr, "%s:%d: a promise is broken\n", file, line);
    std::abort();
}

inline std::string_view view_of(const std::uint8_t* data, std::size_t size) {
    return {reinterpret_cast<const char*>(data), size};
}

/// Everything before the first `mark`, which is taken away with it; all when there is none.
inline std::string_view take_until(std::string_view& text, char mark) {
    const auto end = text.find(mark);
    const auto part = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    return part;
}

/// The next byte, 0 when there is none.
inline unsigned take_byte(std::string_view& text) {
    if (text.empty()) return 0;
    const auto byte = static_cast<unsigned char>(text.front());
    text.remove_prefix(1);
    return byte;
}

inline std::string with_all(std::string text, std::string_view what, std::string_view by) {
    for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += by.size())
        text.replace(at, what.size(), by);
    return text;
}

}  // namespace steplog::fuzz
