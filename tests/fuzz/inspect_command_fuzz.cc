// Feeds command lines to workflow-inspect, one argument a line, over a small database: it ends with
// 0, 1, 2 or 3, and changes nothing. `watch` is left out, which ends when it is interrupted.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "tests/fuzz/fuzz.h"
#include "tests/support/damage_rig.h"

namespace steplog::tools {
int run(int argc, char** argv);  // of tools/inspect/main.cc
}

namespace {

using namespace steplog;
using fuzz::hold;

struct Place {
    Place() {
        const testing::DamageRig rig;
        std::ofstream(path(), std::ios::binary) << (before = rig.backup().database);
    }
    std::string path() const { return (directory / "steplog.db").string(); }
    std::string now() const {
        std::ifstream file(path(), std::ios::binary);
        return {std::istreambuf_iterator<char>(file), {}};
    }
    testing::TemporaryDirectory directory;
    std::string before;
};

/// What it prints is nobody's to read here.
class Silence {
  public:
    Silence() : out_(dup(STDOUT_FILENO)), errors_(dup(STDERR_FILENO)) {
        std::fflush(stdout);
        const int nothing = open("/dev/null", O_WRONLY | O_CLOEXEC);
        dup2(nothing, STDOUT_FILENO);
        dup2(nothing, STDERR_FILENO);
        close(nothing);
    }
    ~Silence() {
        std::fflush(stdout);
        dup2(out_, STDOUT_FILENO);
        dup2(errors_, STDERR_FILENO);
        close(out_);
        close(errors_);
    }
    Silence(const Silence&) = delete;
    Silence& operator=(const Silence&) = delete;

  private:
    int out_, errors_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const Place& place = *new Place;
    std::string_view text = fuzz::view_of(data, size);
    std::vector<std::string> arguments = {"workflow-inspect", "--database", place.path()};
    while (!text.empty() && arguments.size() < 20)
        arguments.emplace_back(
            fuzz::with_all(std::string(fuzz::take_until(text, '\n')), {"\0", 1}, ""));
    // Another database is another program's test.
    const auto left_out = [](const std::string& argument) {
        return argument.starts_with("wa") || argument.starts_with("--da");
    };
    if (std::any_of(arguments.begin() + 3, arguments.end(), left_out)) return 0;
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    int code = 0;
    {
        const Silence silence;
        code = tools::run(static_cast<int>(arguments.size()), argv.data());
    }
    hold(code >= 0 && code <= 3);
    hold(place.now() == place.before);
    return 0;
}
