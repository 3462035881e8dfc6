// Every fuzzer over its corpus in the tree, without libFuzzer and by every compiler: what once was
// found stays found. Each file also comes in a few mutations, the same ones every time.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <random>

#include "tests/fuzz/fuzz.h"

extern "C" {
int command_fuzz(const std::uint8_t* data, std::size_t size);
int cron_fuzz(const std::uint8_t* data, std::size_t size);
int damaged_database_fuzz(const std::uint8_t* data, std::size_t size);
int event_fuzz(const std::uint8_t* data, std::size_t size);
int inspect_command_fuzz(const std::uint8_t* data, std::size_t size);
int provider_answer_fuzz(const std::uint8_t* data, std::size_t size);
int provider_reply_fuzz(const std::uint8_t* data, std::size_t size);
int settings_fuzz(const std::uint8_t* data, std::size_t size);
int signature_fuzz(const std::uint8_t* data, std::size_t size);
int time_fuzz(const std::uint8_t* data, std::size_t size);
int vetting_fuzz(const std::uint8_t* data, std::size_t size);
}

namespace steplog::fuzz {
namespace {

namespace fs = std::filesystem;

struct Target {
    int (*run)(const std::uint8_t* data, std::size_t size);
    int mutations;  // of each file; fewer where one run takes milliseconds
};

const std::map<std::string, Target>& targets() {
    static const std::map<std::string, Target> all = {
        {"command_fuzz", {command_fuzz, 50}},
        {"cron_fuzz", {cron_fuzz, 20}},
        {"damaged_database_fuzz", {damaged_database_fuzz, 1}},
        {"event_fuzz", {event_fuzz, 20}},
        {"inspect_command_fuzz", {inspect_command_fuzz, 2}},
        {"provider_answer_fuzz", {provider_answer_fuzz, 50}},
        {"provider_reply_fuzz", {provider_reply_fuzz, 50}},
        {"settings_fuzz", {settings_fuzz, 20}},
        {"signature_fuzz", {signature_fuzz, 20}},
        {"time_fuzz", {time_fuzz, 50}},
        {"vetting_fuzz", {vetting_fuzz, 50}}};
    return all;
}

const fs::path room = fs::path(STEPLOG_SOURCE_DIR) / "tests/fuzz";

std::map<std::string, std::string> corpus_of(const std::string& target) {
    std::map<std::string, std::string> corpus;
    std::string name = target.substr(0, target.size() - std::string("_fuzz").size());
    for (const auto& entry : fs::directory_iterator(room / "corpus" / name)) {
        std::ifstream file(entry.path(), std::ios::binary);
        corpus[entry.path().filename()] = {std::istreambuf_iterator<char>(file), {}};
    }
    return corpus;
}

std::string mutated(std::string bytes, std::mt19937_64& random) {
    for (auto changes = 1 + random() % 3; changes > 0; --changes) {
        const std::size_t at = bytes.empty() ? 0 : random() % bytes.size();
        switch (random() % 4) {
            case 0:
                if (!bytes.empty()) bytes[at] = static_cast<char>(random());
                break;
            case 1:
                bytes.resize(at);
                break;
            case 2:
                bytes.insert(at, 1, static_cast<char>(random()));
                break;
            default:
                bytes.insert(at, bytes.substr(at, random() % 40));
        }
    }
    return bytes;
}

void run(const Target& target, const std::string& bytes) {
    target.run(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
}

class FuzzCorpus : public ::testing::TestWithParam<std::string> {};

// A broken promise ends the process, and names its place.
TEST_P(FuzzCorpus, HoldsEveryPromise) {
    const Target& target = targets().at(GetParam());
    const auto corpus = corpus_of(GetParam());
    EXPECT_GE(corpus.size(), 8U);
    constexpr std::uint64_t seed = 29;
    std::mt19937_64 random(seed);
    run(target, "");
    int runs = 1;
    for (const auto& [name, bytes] : corpus) {
        SCOPED_TRACE(name);
        run(target, bytes);
        for (int i = 0; i < target.mutations; ++i) run(target, mutated(bytes, random));
        runs += 1 + target.mutations;
    }
    RecordProperty("runs", runs);
    std::printf("%s: %d runs over %zu files, mutations from seed %llu\n", GetParam().c_str(), runs,
                corpus.size(), static_cast<unsigned long long>(seed));
}

std::vector<std::string> names() {
    std::vector<std::string> all;
    for (const auto& [name, target] : targets()) all.push_back(name);
    return all;
}

INSTANTIATE_TEST_SUITE_P(Each, FuzzCorpus, ::testing::ValuesIn(names()),
                         [](const auto& parameter) { return parameter.param; });

TEST(FuzzTargets, AreAllListedHere) {
    for (const auto& entry : fs::directory_iterator(room)) {
        const std::string name = entry.path().stem();
        EXPECT_TRUE(!name.ends_with("_fuzz") || targets().contains(name)) << name;
    }
}

TEST(FuzzTargetsDeathTest, EndTheProcessWhereAPromiseIsBroken) {
    EXPECT_DEATH(hold(1 + 1 == 3), "corpus_test.cc:[0-9]+: a promise is broken");
}

}  // namespace
}  // namespace steplog::fuzz
