// Threads of a block on one processor thread. A stack runs one thread after another; only where a thread waits
// for others is it kept, and the next threads run on another stack. So kernels without barriers are plain loops.

#include "../shim/device.h"
#include "../stand-in.h"

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <sys/mman.h>
#include <vector>

#ifndef __x86_64__
#error "switching stacks is written for x86-64"
#endif

Dim threadIdx, blockIdx, blockDim, gridDim;

// Saves the registers that a call preserves, and continues where another stack has saved its own.
extern "C" void stand_in_switch(void **from, void *to);
asm(R"(
.text
.globl stand_in_switch
.type stand_in_switch, @function
stand_in_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size stand_in_switch, .-stand_in_switch
)");

namespace stand_in {

namespace {

constexpr size_t STACK = 64 << 10;
constexpr unsigned WARP = 32;

enum class State { Idle, Runs, AtWarp, AtBlock };

struct Fiber {
    void *stack_pointer = nullptr;
    unsigned thread = 0;
    State state = State::Idle;
};

std::vector<std::unique_ptr<Fiber>> fibers;
std::vector<Fiber *> idle;
void *scheduler;
Fiber *running;

// The block that runs.
const Kernel *kernel;
void **arguments;
unsigned threads, next_thread;
std::vector<Fiber *> fiber_of;
std::vector<uint64_t> slots;
std::vector<uint64_t> dynamic;

void set_thread(unsigned thread) {
    threadIdx.x = thread % blockDim.x;
    threadIdx.y = thread / blockDim.x % blockDim.y;
    threadIdx.z = thread / blockDim.x / blockDim.y;
}

// Leaves the running fiber.
void yield(State state) {
    Fiber *fiber = running;
    fiber->state = state;
    stand_in_switch(&fiber->stack_pointer, scheduler);
}

void fiber_main() {
    for (;;) {
        while (next_thread < threads) {
            running->thread = next_thread++;
            fiber_of[running->thread] = running;
            set_thread(running->thread);
            kernel->run(arguments);
            fiber_of[running->thread] = nullptr;
        }
        idle.push_back(running);
        yield(State::Idle);
    }
}

void resume(Fiber &fiber) {
    running = &fiber;
    fiber.state = State::Runs;
    stand_in_switch(&scheduler, fiber.stack_pointer);
}

Fiber &idle_fiber() {
    if (!idle.empty()) {
        Fiber *fiber = idle.back();
        idle.pop_back();
        return *fiber;
    }
    auto fiber = std::make_unique<Fiber>();
    auto *stack = (char *)mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED) std::abort();
    auto *top = (void **)(stack + STACK);
    // The return address of the first switch, at an address such as a call leaves; below it six registers.
    *--top = nullptr;
    *--top = (void *)fiber_main;
    fiber->stack_pointer = top - 6;
    for (int i = 1; i <= 6; i++) *--top = nullptr;
    fibers.push_back(std::move(fiber));
    return *fibers.back();
}

// Resumes those of threads `from` to `to` that wait so. False if none does.
bool resume_all(State waiting, unsigned from, unsigned to) {
    std::vector<Fiber *> ready;
    for (unsigned t = from; t < to; t++)
        if (fiber_of[t] && fiber_of[t]->state == waiting) ready.push_back(fiber_of[t]);
    for (Fiber *fiber : ready) resume(*fiber);
    return !ready.empty();
}

void run_block() {
    next_thread = 0;
    fiber_of.assign(threads, nullptr);
    while (next_thread < threads) resume(idle_fiber());
    bool any = true;
    while (any) {
        for (unsigned warp = 0; warp < threads; warp += WARP)
            while (resume_all(State::AtWarp, warp, std::min(warp + WARP, threads))) {}
        any = resume_all(State::AtBlock, 0, threads);
    }
}

} // namespace

uint64_t *warp_slots() { return &slots[running->thread / WARP * WARP]; }
unsigned lane() { return running->thread % WARP; }
void *dynamic_shared() { return dynamic.data(); }

void run_grid(const Kernel &to_run, Size3 grid, Size3 block, unsigned shared_bytes, void **values) {
    kernel = &to_run;
    arguments = values;
    gridDim = {grid.x, grid.y, grid.z};
    blockDim = {block.x, block.y, block.z};
    threads = block.x * block.y * block.z;
    slots.assign((threads + WARP - 1) / WARP * WARP, 0);
    dynamic.assign(shared_bytes / 8 + 1, 0);
    for (unsigned z = 0; z < grid.z; z++)
        for (unsigned y = 0; y < grid.y; y++)
            for (unsigned x = 0; x < grid.x; x++) {
                blockIdx = {x, y, z};
                run_block();
            }
}

} // namespace stand_in

static void wait(stand_in::State state) {
    const unsigned thread = stand_in::running->thread;
    stand_in::yield(state);
    stand_in::set_thread(thread);
}

void __syncthreads() { wait(stand_in::State::AtBlock); }
void __syncwarp(unsigned) { wait(stand_in::State::AtWarp); }
