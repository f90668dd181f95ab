// Memory of the device and pinned memory, as the driver's calls see it.

#pragma once

#include "../stand-in.h"

namespace stand_in {

// An allocation, or null where memory does not suffice or STAND_IN_FAIL_ALLOC says so.
void *allocate(Place place, size_t bytes, bool from_pool);
// What a free asks for at its call: later calls may not use the memory. False if it is not an allocation.
bool ask_to_free(void *at);
// Ends an allocation when its queue executes the free.
void free_now(void *at);

// Memory of a graph: an address for as long as the graph, which ends it by `free_now`; it is live from where the graph allocates it to where it frees it.
void *reserve_for_graph(size_t bytes);
bool is_graph_memory(void *at);
void allocate_in_graph(void *at);
void free_in_graph(void *at);
// Whether the graph, or the program, has freed what the graph allocated at its last launch.
bool is_freed_in_graph(void *at);
// Checks the red zones of all allocations.
void check_red_zones();

struct MemoryState {
    size_t total, used, used_high, reserved, reserved_high, threshold;
    // Of graphs, outside the pool.
    size_t graphs, graphs_high;
};
MemoryState &memory_state();
// Gives reserved memory of the pool back, down to so many bytes.
void trim(size_t keep);

} // namespace stand_in
