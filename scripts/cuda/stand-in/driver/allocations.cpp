// The driver's calls that allocate and free.

#include "../stand-in.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "memory.h"
#include "queue.h"

using namespace stand_in;

namespace {

enum { RELEASE_THRESHOLD = 4, RESERVED_CURRENT, RESERVED_HIGH, USED_CURRENT, USED_HIGH };
int default_pool;

int allocate_for(void **at, size_t bytes, Place place, bool from_pool) {
    if (error()) return error();
    // An error by the manual of `cuMemAlloc`.
    if (bytes == 0) return std::fprintf(stderr, "stand-in: an allocation of 0 bytes\n"), INVALID_VALUE;
    *at = allocate(place, bytes, from_pool);
    return *at ? SUCCESS : OUT_OF_MEMORY;
}

// A node that allocates at each launch, always at the same address.
int allocate_in(Graph &graph, void **at, size_t bytes, void *stream) {
    if (error_of(stream)) return error_of(stream);
    if (!(*at = reserve_for_graph(bytes))) return OUT_OF_MEMORY;
    graph.memory.push_back(*at);
    graph.used += bytes;
    graph.used_high = std::max(graph.used_high, graph.used);
    enqueue(stream, [at = *at] { allocate_in_graph(at); });
    graph.nodes.back().kind = Graph::OTHER;
    return SUCCESS;
}

// A node that frees what this graph allocates; anything else is an error.
int free_in(Graph &graph, void *at, void *stream) {
    if (std::find(graph.memory.begin(), graph.memory.end(), at) == graph.memory.end()) return INVALID_VALUE;
    graph.used -= bytes_from(at);
    if (!ask_to_free(at)) return error();
    enqueue(stream, [at] { free_in_graph(at); });
    graph.nodes.back().kind = Graph::OTHER;
    return SUCCESS;
}

} // namespace

extern "C" {

int cuMemAlloc_v2(void **at, size_t bytes) {
    std::lock_guard lock(mutex());
    return allocate_for(at, bytes, Place::Device, false);
}
int cuMemAllocAsync(void **at, size_t bytes, void *stream) {
    std::lock_guard lock(mutex());
    // From a pool, unlike `cuMemAlloc`, nothing is no error: its address is null.
    if (bytes == 0) return *at = nullptr, count("empty_allocations"), error();
    if (is_capturing(stream)) return allocate_in(*stream_of(stream).captured, at, bytes, stream);
    return allocate_for(at, bytes, Place::Device, true);
}
int cuMemAllocFromPoolAsync(void **at, size_t bytes, void *, void *stream) { return cuMemAllocAsync(at, bytes, stream); }
int cuMemHostAlloc(void **at, size_t bytes, unsigned) {
    std::lock_guard lock(mutex());
    count("pinned_allocations");
    return allocate_for(at, bytes, Place::Pinned, false);
}
int cuMemAllocManaged(void **, size_t, unsigned) { return NOT_SUPPORTED; }

int cuMemFree_v2(void *at) {
    std::lock_guard lock(mutex());
    if (!at) return SUCCESS;
    // As the driver: after all work.
    execute_all();
    if (!ask_to_free(at)) return error();
    free_now(at);
    return error();
}
int cuMemFreeAsync(void *at, void *stream) {
    std::lock_guard lock(mutex());
    if (!at) return SUCCESS;
    if (error_of(stream)) return error_of(stream);
    if (is_capturing(stream)) return free_in(*stream_of(stream).captured, at, stream);
    if (!ask_to_free(at)) return error();
    // What a graph has allocated and not freed.
    const bool of_graph = is_graph_memory(at);
    enqueue(stream, [at, of_graph] { of_graph ? free_in_graph(at) : free_now(at); });
    return SUCCESS;
}
int cuMemFreeHost(void *at) {
    std::lock_guard lock(mutex());
    // At once: what a queue still copies from here is gone.
    if (!ask_to_free(at)) return error();
    free_now(at);
    return SUCCESS;
}

int cuMemGetInfo_v2(size_t *free, size_t *total) {
    std::lock_guard lock(mutex());
    const auto &state = memory_state();
    *total = state.total;
    *free = state.total - std::min(state.total, state.reserved + state.graphs);
    return SUCCESS;
}

// Of the attributes, the type of memory.
int cuPointerGetAttribute(void *value, int attribute, void *at) {
    std::lock_guard lock(mutex());
    enum { MEMORY_TYPE = 2, HOST = 1, DEVICE = 2 };
    // Unknown: memory of the host that is not pinned.
    if (attribute != MEMORY_TYPE || !bytes_from(at)) return INVALID_VALUE;
    return *(int *)value = is_pinned(at, 1) ? HOST : DEVICE, SUCCESS;
}

int cuDeviceGetDefaultMemPool(void **pool, int) { return *pool = &default_pool, SUCCESS; }
int cuDeviceGetMemPool(void **pool, int) { return *pool = &default_pool, SUCCESS; }
int cuDeviceSetMemPool(int, void *) { return SUCCESS; }

int cuDeviceGetGraphMemAttribute(int, int attribute, void *value) {
    std::lock_guard lock(mutex());
    const auto &state = memory_state();
    const uint64_t number = attribute & 1 ? state.graphs_high : state.graphs;
    std::memcpy(value, &number, sizeof number);
    return SUCCESS;
}

// Here a graph's memory is gone with it.
int cuDeviceGraphMemTrim(int) {
    std::lock_guard lock(mutex());
    return error();
}

int cuMemPoolTrimTo(void *, size_t keep) {
    std::lock_guard lock(mutex());
    count("trims");
    trim(keep);
    return SUCCESS;
}
int cuMemPoolGetAttribute(void *, int attribute, void *value) {
    std::lock_guard lock(mutex());
    const auto &state = memory_state();
    uint64_t number = 0;
    switch (attribute) {
    case 1: case 2: case 3: *(int *)value = 1; return SUCCESS;
    case RELEASE_THRESHOLD: number = state.threshold; break;
    case RESERVED_CURRENT: number = state.reserved; break;
    case RESERVED_HIGH: number = state.reserved_high; break;
    case USED_CURRENT: number = state.used; break;
    case USED_HIGH: number = state.used_high; break;
    default: return INVALID_VALUE;
    }
    std::memcpy(value, &number, sizeof number);
    return SUCCESS;
}
int cuMemPoolSetAttribute(void *, int attribute, void *value) {
    std::lock_guard lock(mutex());
    auto &state = memory_state();
    if (attribute >= 1 && attribute <= 3) return SUCCESS;
    uint64_t number;
    std::memcpy(&number, value, sizeof number);
    switch (attribute) {
    case RELEASE_THRESHOLD: state.threshold = number; return SUCCESS;
    // The high marks can only be set to 0, which means to the current value.
    case RESERVED_HIGH: state.reserved_high = state.reserved; return number ? INVALID_VALUE : SUCCESS;
    case USED_HIGH: state.used_high = state.used; return number ? INVALID_VALUE : SUCCESS;
    default: return INVALID_VALUE;
    }
}
}
