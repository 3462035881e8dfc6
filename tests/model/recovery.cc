// How lives of a simulation begin and end: in good order, by power, by a disk that fails.
#include "tests/model/acts.h"

namespace steplog::testing {
namespace {

constexpr int nested_cuts_max = 2;

}  // namespace

LifeOptions Simulation::life_options() {
    LifeOptions options;
    options.store = {.database = stage_.database(),
                     .writer_thread = false,
                     .create = false,
                     .on_full = [this] { return disk_is_full(); },
                     .vfs = vfs_.name()};
    options.store.checkpoint_frames = script_.checkpoint_frames;
    options.store.encryption_keys = masters_;
    options.mistake = stage_.mistake();
    if (options.mistake == Mistake::synchronous_normal) options.store.synchronous = "NORMAL";
    options.store.acknowledge_before_commit =
        options.mistake == Mistake::acknowledges_before_commit;
    options.observe = [this](const Transitioned& told) {
        if (told.what != "finished") return;
        const auto* instance = watch_.truth().find(told.instance);
        if (!instance || instance->state != State::completed)
            watch_.find("told_too_early", told.instance + " is told to be finished");
    };
    return options;
}

// Null when the machine died meanwhile.
std::unique_ptr<Life> Simulation::open_life() {
    vfs_.set_capacity(0);
    std::vector<Reference> opened = watch_.possible();
    for (Reference& reference : opened)
        reference.open(clock_.now_ms(), masters_.empty() ? "" : masters_.front().id);
    const LifeOptions options = life_options();
    std::unique_ptr<Life> life;
    try {
        life = std::make_unique<Life>(options, clock_, memory_);
    } catch (const std::runtime_error& error) {
        if (!vfs_.is_cut() && !vfs_.has_failed()) watch_.find("opening", error.what());
        for (Reference& reference : opened) watch_.may_be(std::move(reference));
        return nullptr;
    }
    ++played_.lives;
    if (!recognise(*life, std::move(opened))) return nullptr;
    Registry registry;
    register_errands(registry, outside_, deployed_);
    if (purchase_) purchase_->register_workflow(registry);
    life->begin(watch_, clock_, random_, std::move(registry), options, memory_);
    return define_schedules(*life) ? std::move(life) : nullptr;
}

// False when the machine died meanwhile.
bool Simulation::define_schedules(Life& life) {
    if (!script_.schedules) return true;
    try {
        life.engine().schedule(deployed_.schedules);
        return true;
    } catch (const StoreError& error) {
        if (!vfs_.is_cut() && !vfs_.has_failed()) watch_.find("opening", error.what());
        return false;
    }
}

// Everything acknowledged is there, nothing else is, and what was under way is there or not.
bool Simulation::recognise(Life& life, std::vector<Reference> opened) {
    std::string differences;
    for (std::size_t i = 0; i < opened.size(); ++i) {
        const std::string difference = life.reader().difference(opened[i], true);
        if (difference.empty()) {
            watch_.possible() = {std::move(opened[i])};
            return true;
        }
        differences += "\n    " + difference;
    }
    watch_.find("after_opening", fmt::format("the file is none of what it may be:{}", differences));
    return false;
}

void Simulation::begin_life() {
    watch_.tell("  a life begins");
    while (watch_.clean()) {
        life_ = open_life();
        if (life_ || !watch_.clean()) return;
        ++played_.cuts;
        crash(survival_, survival_seed_++);
    }
}

void Simulation::crash(Survival survival, std::uint64_t seed) {
    if (watch_.telling)
        watch_.tell(
            fmt::format("  crash, survival {}: {}", static_cast<int>(survival), vfs_.cut_at()));
    vfs_.crash(survival, seed);
    vfs_.clear_faults();
    former_lives_.clear();
    life_.reset();
}

void Simulation::end_life() {
    former_lives_.clear();
    life_.reset();
}

// After the power or the store is gone. The next start may be cut as well.
void Simulation::recover() {
    ++played_.cuts;
    outside_.interlude = {};
    Dice dice(survival_seed_);
    crash(survival_, dice.next());
    survival_seed_ = dice.next();
    for (int cuts = 0; cuts < nested_cuts_max && watch_.clean() && dice.below(3) == 0; ++cuts) {
        survival_ = static_cast<Survival>(dice.below(4));
        vfs_.cut_after(1 + static_cast<std::int64_t>(dice.below(20)));
        life_ = open_life();
        if (!vfs_.is_cut()) return;
        ++played_.cuts;
        crash(survival_, dice.next());
    }
    begin_life();
}

}  // namespace steplog::testing
