// Memory as host allocations with red zones. New memory is NaN, freed memory is filled with a pattern and
// kept apart for a while, so that what reads it goes wrong.

#include "memory.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>

namespace stand_in {

namespace {

constexpr size_t ZONE = 256;
constexpr unsigned char ZONE_BYTE = 0xa5, NEW_BYTE = 0xff, FREED_BYTE = 0xfb;
// Bytes of an allocation that are filled, at most, and of freed memory that is kept apart.
constexpr size_t FILLED = 64 << 20, KEPT = 256 << 20;

struct Block {
    size_t bytes;
    Place place;
    bool from_pool;
    bool free_asked = false;
    bool of_graph = false;
    // Between its allocation and its free when a queue executes; always outside graphs.
    bool has_memory = true;
};

struct Freed {
    unsigned char *at;
    size_t bytes;
};

std::map<uintptr_t, Block> &blocks() {
    static auto *all = new std::map<uintptr_t, Block>;
    return *all;
}
std::deque<Freed> &freed() {
    static auto *all = new std::deque<Freed>;
    return *all;
}
size_t kept = 0;

// The allocation that an address lies in, its end included.
const std::pair<const uintptr_t, Block> *find(const void *at) {
    auto &all = blocks();
    auto next = all.upper_bound((uintptr_t)at);
    if (next == all.begin()) return nullptr;
    const auto &block = *--next;
    return (uintptr_t)at <= block.first + block.second.bytes ? &block : nullptr;
}

// Memory that nothing is computed in is not touched, so that more of it than the host has can be allocated.
void fill(unsigned char *at, unsigned char byte, size_t bytes) {
    if (executes()) std::memset(at, byte, std::min(bytes, FILLED));
}

bool is_whole(const unsigned char *at, size_t bytes) {
    for (const unsigned char *zone : {at - ZONE, at + bytes})
        for (size_t i = 0; i < ZONE; i++)
            if (zone[i] != ZONE_BYTE) return false;
    return true;
}

void check(const unsigned char *at, size_t bytes) {
    if (!is_whole(at, bytes)) {
        fault("bytes beside an allocation of " + std::to_string(bytes) + " bytes were overwritten");
        std::memset((void *)(at - ZONE), ZONE_BYTE, ZONE);
        std::memset((void *)(at + bytes), ZONE_BYTE, ZONE);
    }
}

// Memory between red zones; null where the host has none.
void *reserve(size_t bytes) {
    const size_t all = (bytes + 2 * ZONE + 255) / 256 * 256;
    auto *memory = (unsigned char *)std::aligned_alloc(256, all);
    if (!memory) return nullptr;
    unsigned char *at = memory + ZONE;
    std::memset(memory, ZONE_BYTE, ZONE);
    std::memset(at + bytes, ZONE_BYTE, ZONE);
    fill(at, NEW_BYTE, bytes);
    return at;
}

} // namespace

MemoryState &memory_state() {
    static MemoryState state = {(size_t)setting("STAND_IN_MEMORY", 16ll << 30), 0, 0, 0, 0, 0, 0, 0};
    return state;
}

void *allocate(Place place, size_t bytes, bool from_pool) {
    static long long calls = 0;
    auto &state = memory_state();
    if (place == Place::Device) {
        count("allocations");
        if (fails("STAND_IN_FAIL_ALLOC", calls)) return nullptr;
        if (state.used + state.graphs + bytes > state.total) return nullptr;
    }
    auto *at = (unsigned char *)reserve(bytes);
    if (!at) return nullptr;
    blocks()[(uintptr_t)at] = {bytes, place, from_pool};
    if (place == Place::Device) {
        state.used += bytes;
        state.used_high = std::max(state.used_high, state.used);
        state.reserved = std::max(state.reserved, state.used);
        state.reserved_high = std::max(state.reserved_high, state.reserved);
        count_peak("peak_bytes", (long long)(state.used + state.graphs));
    }
    return at;
}

bool ask_to_free(void *at) {
    auto found = blocks().find((uintptr_t)at);
    if (found == blocks().end() || found->second.free_asked) {
        fault("memory was freed that is not allocated, or twice");
        return false;
    }
    found->second.free_asked = true;
    if (found->second.of_graph) return true;
    if (found->second.place == Place::Device) {
        count("frees");
        memory_state().used -= found->second.bytes;
    }
    return true;
}

void free_now(void *address) {
    auto found = blocks().find((uintptr_t)address);
    if (found == blocks().end()) return;
    auto *at = (unsigned char *)address;
    const size_t bytes = found->second.bytes;
    check(at, bytes);
    fill(at, FREED_BYTE, bytes);
    blocks().erase(found);
    freed().push_back({at, bytes});
    kept += bytes;
    while (kept > KEPT) {
        kept -= freed().front().bytes;
        std::free(freed().front().at - ZONE);
        freed().pop_front();
    }
}

void *reserve_for_graph(size_t bytes) {
    count("graph_allocations");
    void *at = reserve(bytes);
    if (at) {
        Block &block = blocks()[(uintptr_t)at] = {bytes, Place::Device, false};
        block.of_graph = true;
        block.has_memory = false;
    }
    return at;
}

bool is_graph_memory(void *at) {
    const auto found = blocks().find((uintptr_t)at);
    return found != blocks().end() && found->second.of_graph;
}

void allocate_in_graph(void *at) {
    Block &block = blocks().at((uintptr_t)at);
    block.has_memory = true;
    fill((unsigned char *)at, NEW_BYTE, block.bytes);
}

void free_in_graph(void *at) {
    Block &block = blocks().at((uintptr_t)at);
    if (!block.has_memory) return fault("memory of a graph was freed twice");
    check((unsigned char *)at, block.bytes);
    fill((unsigned char *)at, FREED_BYTE, block.bytes);
    block.has_memory = false;
}

bool is_freed_in_graph(void *at) { return blocks().at((uintptr_t)at).free_asked; }

void check_red_zones() {
    for (const auto &[at, block] : blocks()) check((unsigned char *)at, block.bytes);
}

void trim(size_t keep) {
    auto &state = memory_state();
    state.reserved = std::max(state.used, std::min(state.reserved, keep));
}

bool is_live(const void *at, size_t bytes, bool asked) {
    const auto *block = find(at);
    if (!block || (asked ? block->second.free_asked : !block->second.has_memory)) return false;
    return (uintptr_t)at + bytes <= block->first + block->second.bytes;
}

size_t bytes_from(const void *at) {
    const auto *block = find(at);
    return block ? block->first + block->second.bytes - (uintptr_t)at : 0;
}

bool is_pinned(const void *at, size_t bytes) {
    const auto *block = find(at);
    return block && block->second.place == Place::Pinned && is_live(at, bytes, false);
}

bool require(const void *at, size_t bytes, const char *what) {
    if (bytes == 0 || is_live(at, bytes, false)) return true;
    fault(std::string(what) + ": " + std::to_string(bytes) + " bytes are not in a live allocation when the queue executes");
    return false;
}

} // namespace stand_in
