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
// Checks the red zones of all allocations.
void check_red_zones();

struct MemoryState {
    size_t total, used, used_high, reserved, reserved_high, threshold;
};
MemoryState &memory_state();
// Gives reserved memory of the pool back, down to so many bytes.
void trim(size_t keep);

} // namespace stand_in
