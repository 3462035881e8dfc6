// A simulation in progress: what each act of a script does, and what must hold after it. Used by
// simulation.cc and, for the last act, ending.cc; one thread.
#pragma once

#include <set>

#include "tests/model/errand.h"
#include "tests/model/life.h"
#include "tests/model/purchase_world.h"
#include "tests/model/simulation.h"

namespace steplog::testing {

/// The n-th master key, as a setting.
inline std::string master_key(int n) { return fmt::format("{:064x}", 0xabc0 + n); }

class Simulation {
  public:
    Simulation(Stage& stage, const Script& script, bool telling);
    Played play();

  private:
    using Dice = SeededRandom;

    // Lives.
    LifeOptions life_options();
    std::unique_ptr<Life> open_life();
    bool define_schedules(Life& life);
    bool recognise(Life& life, std::vector<Reference> opened);
    void begin_life();
    void end_life();
    void crash(Survival survival, std::uint64_t seed);
    void recover();

    // Acts.
    void perform(const Act& act);
    void after_act();
    void compare(bool wholly);
    void deliver(Dice& dice);
    void deliver_again(Dice& dice);
    void keep_event(Dice& dice);
    void deliver_purchase(Dice& dice);
    void deliver_purchase_event(std::size_t n);
    void accept(std::optional<NewEvent> event, std::optional<NewInstance> instance);
    void work(int instances);
    void let_pass(Ms time);
    void reach_due();
    void set_clock(Dice& dice);
    void cut_power(Dice& dice);
    void take_over(std::uint64_t luck);
    void decide(Dice& dice);
    void resume_one(Dice& dice);
    void resume(const std::string& id);
    void resume_all(Dice& dice);
    void cancel(Dice& dice, bool running);
    void send(Dice& dice, bool running);
    void move(Dice& dice, bool running);
    void pause(Dice& dice, bool running);
    void edit(Dice& dice);
    void operate(OperateRequest operation);
    void unpause_all();
    void purge(Dice& dice);
    void rotate_keys(Dice& dice);
    void sweep(Dice& dice);
    void change_schedule(Dice& dice);
    void change_provider(Dice& dice);
    void forget(Dice& dice);
    std::string some_event(Dice& dice) const;
    void remember_ended();
    void fail_disk(Dice& dice);
    void renew(Dice& dice);
    void look(Dice& dice);
    bool disk_is_full();
    void failed(const StoreError& error);
    std::string any_instance(Dice& dice) const;

    // The end.
    void finish();
    void settle();
    bool resume_stuck();
    void check_end();
    void check_errand(const Errand& errand, const ReferenceInstance& instance);
    bool may_stay(const ReferenceInstance& instance,
                  std::set<std::string> waiting_before = {}) const;
    void check_promises();

    Stage& stage_;
    const Script& script_;
    CrashVfs& vfs_;
    WallClock clock_;
    Watch watch_;
    SeededRandom random_;
    Outside outside_;
    std::optional<PurchaseWorld> purchase_;
    Deployed deployed_;
    std::vector<MasterKey> masters_;  // of the present life, unless it must be restarted
    int masters_made_ = 1;
    MistakesMemory memory_;
    std::vector<Errand> errands_;
    std::map<std::string, ReferenceInstance> ended_;  // before retention took them
    Played played_;

    std::unique_ptr<Life> life_;
    std::vector<std::unique_ptr<Life>> former_lives_;  // taken over, not ended yet
    Survival survival_ = Survival::synced;             // of the next power cut
    std::uint64_t survival_seed_ = 0;
    bool restart_needed_ = false;
    std::int64_t furthest_offset_ms_ = 0;
    int waits_for_room_ = 0;
    int kept_events_ = 0;
    int replaced_ = 0;
    std::size_t purchase_events_ = 0;  // delivered
};

}  // namespace steplog::testing
