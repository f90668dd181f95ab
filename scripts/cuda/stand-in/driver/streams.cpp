// The driver's calls on streams, events and graphs.

#include "../stand-in.h"

#include <algorithm>
#include <cstring>

#include "memory.h"
#include "queue.h"

using namespace stand_in;

namespace {

constexpr unsigned NON_BLOCKING = 1, DISABLE_TIMING = 2;
// Queries of an event that has not happened, after which its stream has got there: a loop of queries ends.
constexpr int POLLS = 3;

int synchronized() {
    count("synchronizations");
    check_red_zones();
    const auto &state = memory_state();
    trim(state.threshold);
    return error();
}

} // namespace

extern "C" {

int cuStreamCreate(void **stream, unsigned flags) {
    std::lock_guard lock(mutex());
    return *stream = create_stream(flags & NON_BLOCKING), SUCCESS;
}
int cuStreamCreateWithPriority(void **stream, unsigned flags, int) { return cuStreamCreate(stream, flags); }
int cuStreamDestroy_v2(void *stream) {
    std::lock_guard lock(mutex());
    destroy_stream(stream);
    return SUCCESS;
}
int cuStreamSynchronize(void *stream) {
    std::lock_guard lock(mutex());
    if (error_of(stream)) return error_of(stream);
    if (is_capturing(stream)) return invalidate(stream, STREAM_CAPTURE_UNSUPPORTED);
    execute(stream_of(stream));
    return synchronized();
}
int cuStreamQuery(void *stream) {
    std::lock_guard lock(mutex());
    if (error_of(stream)) return error_of(stream);
    if (is_capturing(stream)) return invalidate(stream, STREAM_CAPTURE_UNSUPPORTED);
    execute(stream_of(stream));
    return error();
}
int cuCtxSynchronize() {
    std::lock_guard lock(mutex());
    if (error()) return error();
    if (is_any_capturing()) return STREAM_CAPTURE_UNSUPPORTED;
    execute_all();
    return synchronized();
}
int cuLaunchHostFunc(void *stream, void (*function)(void *), void *data) {
    std::lock_guard lock(mutex());
    enqueue(stream, [=] { function(data); });
    return SUCCESS;
}

int cuEventCreate(void **event, unsigned flags) {
    auto *made = new Event;
    made->has_time = !(flags & DISABLE_TIMING);
    return *event = made, SUCCESS;
}
int cuEventDestroy_v2(void *event) {
    delete (Event *)event;
    return SUCCESS;
}
int cuEventRecord(void *event, void *stream) {
    std::lock_guard lock(mutex());
    if (error_of(stream)) return error_of(stream);
    record(*(Event *)event, stream);
    return SUCCESS;
}
int cuStreamWaitEvent(void *stream, void *event, unsigned) {
    std::lock_guard lock(mutex());
    if (error_of(stream)) return error_of(stream);
    if (is_capturing(stream) != ((Event *)event)->is_captured && ((Event *)event)->point)
        return invalidate(stream, STREAM_CAPTURE_ISOLATION);
    wait(stream, *(Event *)event);
    return SUCCESS;
}
int cuEventSynchronize(void *handle) {
    std::lock_guard lock(mutex());
    if (error()) return error();
    auto &event = *(Event *)handle;
    if (event.is_captured) return CAPTURED_EVENT;
    if (event.point) execute(*event.point->stream, event.point.get());
    return synchronized();
}
int cuEventQuery(void *handle) {
    std::lock_guard lock(mutex());
    if (error()) return error();
    auto &event = *(Event *)handle;
    if (event.is_captured) return CAPTURED_EVENT;
    if (!event.point || event.point->is_done) return SUCCESS;
    if (++event.polls >= POLLS) execute(*event.point->stream, event.point.get());
    return event.point->is_done ? error() : NOT_READY;
}
int cuEventElapsedTime_v2(float *milliseconds, void *from, void *to) {
    std::lock_guard lock(mutex());
    const auto &first = *(Event *)from, &last = *(Event *)to;
    if (!first.has_time || !last.has_time || !first.point || !last.point) return INVALID_HANDLE;
    if (!first.point->is_done || !last.point->is_done) return NOT_READY;
    *milliseconds = (float)(last.point->milliseconds - first.point->milliseconds);
    return error();
}

int cuStreamBeginCapture_v2(void *stream, int) {
    std::lock_guard lock(mutex());
    auto &to = stream_of(stream);
    // The legacy default stream cannot be captured.
    if ((uintptr_t)stream <= 1 || to.captured) return STREAM_CAPTURE_UNSUPPORTED;
    to.captured = std::make_shared<Graph>();
    return SUCCESS;
}
int cuStreamEndCapture(void *stream, void **graph) {
    std::lock_guard lock(mutex());
    auto &from = stream_of(stream);
    if (!from.captured) return INVALID_VALUE;
    const auto made = std::move(from.captured);
    from.captured = nullptr;
    if (made->is_invalid) return *graph = nullptr, STREAM_CAPTURE_INVALIDATED;
    *graph = new std::shared_ptr<Graph>(made);
    count("graphs");
    return SUCCESS;
}
int cuStreamIsCapturing(void *stream, int *status) {
    std::lock_guard lock(mutex());
    // None, active, or invalidated.
    const auto &graph = stream_of(stream).captured;
    return *status = !graph ? 0 : graph->is_invalid ? 2 : 1, SUCCESS;
}
int cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long) {
    std::lock_guard lock(mutex());
    const auto &made = *(std::shared_ptr<Graph> *)graph;
    auto &state = memory_state();
    if (state.used + state.graphs + made->used_high > state.total) return OUT_OF_MEMORY;
    state.graphs += made->used_high;
    state.graphs_high = std::max(state.graphs_high, state.graphs);
    count_peak("peak_bytes", (long long)(state.used + state.graphs));
    return *executable = new std::shared_ptr<Graph>(made), SUCCESS;
}
int cuGraphUpload(void *, void *) { return SUCCESS; }
int cuGraphLaunch(void *executable, void *stream) {
    std::lock_guard lock(mutex());
    if (error()) return error();
    count("graph_launches");
    const auto &graph = *(std::shared_ptr<Graph> *)executable;
    // A graph that leaves memory allocated can be launched once.
    const bool is_freed = std::all_of(graph->memory.begin(), graph->memory.end(), is_freed_in_graph);
    if (!is_freed && graph->is_launched) return INVALID_VALUE;
    graph->is_launched = true;
    for (const auto &node : graph->nodes)
        enqueue(stream, [graph, work = node.work] { work(); });
    return SUCCESS;
}
int cuGraphExecDestroy(void *executable) {
    std::lock_guard lock(mutex());
    auto *made = (std::shared_ptr<Graph> *)executable;
    memory_state().graphs -= (*made)->used_high;
    delete made;
    return SUCCESS;
}
int cuGraphDestroy(void *graph) {
    std::lock_guard lock(mutex());
    delete (std::shared_ptr<Graph> *)graph;
    return SUCCESS;
}

// Nodes are named by addresses in the graph.
int cuGraphGetNodes(void *graph, void **nodes, size_t *len) {
    std::lock_guard lock(mutex());
    auto &all = (*(std::shared_ptr<Graph> *)graph)->nodes;
    if (nodes)
        for (size_t i = 0; i < std::min(*len, all.size()); i++) nodes[i] = &all[i];
    *len = all.size();
    return SUCCESS;
}
int cuGraphNodeGetType(void *node, int *type) { return *type = ((Graph::Node *)node)->kind, SUCCESS; }
int cuGraphMemcpyNodeGetParams(void *node, void *parameters) {
    const auto &copy = *(Graph::Node *)node;
    if (copy.kind != Graph::COPY) return INVALID_VALUE;
    // Where CUDA_MEMCPY3D has the type of memory of its source and its destination; their addresses are 16 bytes on.
    enum { SOURCE = 32, DESTINATION = 120, ADDRESS = 16, BYTES = 200, HOST = 1, DEVICE = 2, UNIFIED = 4 };
    std::memset(parameters, 0, BYTES);
    // The manual does not say whether a copy on the device is of this type or of `DEVICE`: the one that needs a second look.
    const int source = copy.uses_host ? HOST : UNIFIED, destination = copy.uses_host ? DEVICE : UNIFIED;
    std::memcpy((char *)parameters + SOURCE, &source, sizeof source);
    std::memcpy((char *)parameters + DESTINATION, &destination, sizeof destination);
    std::memcpy((char *)parameters + SOURCE + ADDRESS, &copy.from, sizeof copy.from);
    std::memcpy((char *)parameters + DESTINATION + ADDRESS, &copy.to, sizeof copy.to);
    return SUCCESS;
}
}
