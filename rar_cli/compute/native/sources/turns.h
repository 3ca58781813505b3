// Stages that go over the same blocks one behind another, on several threads.

#pragma once

#include <sched.h>

#include "vector.h"

// Turns in their order: at each step a block of the first stage, one of the second `lag` blocks behind it, and so on.
// Threads take turns in this order, so a turn waits only for turns that other threads have begun.
struct Turns {
    int64_t blocks, stages, lag;
    int64_t count() const { return (blocks + (stages - 1) * lag) * stages; }
    int64_t stage(int64_t turn) const { return turn % stages; }
    int64_t block(int64_t turn) const { return turn / stages - stage(turn) * lag; }  // not of the picture: no turn
    int64_t apart() const { return 2 * lag; }  // blocks from one to the oldest that the next stage may still read
};

// Which blocks each stage has done.
struct Done {
    const Turns& turns;
    Scratch<uint8_t> flags;
    explicit Done(const Turns& t) : turns(t), flags(t.stages * t.blocks) {
        std::memset(flags.at, 0, t.stages * t.blocks);
    }
    void set(int64_t stage, int64_t block) {
        __atomic_store_n(flags.at + stage * turns.blocks + block, 1, __ATOMIC_RELEASE);
    }

    // What one thread knows of it.
    struct Seen {
        static constexpr int MOST = 3;
        Done& done;
        int64_t until[MOST] = {};
        explicit Seen(Done& d) : done(d) {}
        // Until a stage has done all blocks up to this one.
        void wait(int64_t stage, int64_t block) {
            const int64_t last = block < done.turns.blocks ? block : done.turns.blocks - 1;
            for (int tries = 0; until[stage] <= last;) {
                if (__atomic_load_n(done.flags.at + stage * done.turns.blocks + until[stage], __ATOMIC_ACQUIRE))
                    until[stage]++, tries = 0;
                else if (++tries < 1000) _mm_pause();
                else sched_yield();
            }
        }
    };
};
