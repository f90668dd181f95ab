// The driver's calls on streams, events and graphs.

#include "../stand-in.h"

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
    if (error()) return error();
    if (is_capturing(stream)) return STREAM_CAPTURE_UNSUPPORTED;
    execute(stream_of(stream));
    return synchronized();
}
int cuStreamQuery(void *stream) {
    std::lock_guard lock(mutex());
    execute(stream_of(stream));
    return error();
}
int cuCtxSynchronize() {
    std::lock_guard lock(mutex());
    if (error()) return error();
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
    if (error()) return error();
    record(*(Event *)event, stream);
    return SUCCESS;
}
int cuStreamWaitEvent(void *stream, void *event, unsigned) {
    std::lock_guard lock(mutex());
    if (error()) return error();
    wait(stream, *(Event *)event);
    return SUCCESS;
}
int cuEventSynchronize(void *handle) {
    std::lock_guard lock(mutex());
    if (error()) return error();
    auto &event = *(Event *)handle;
    if (event.point) execute(*event.point->stream, event.point.get());
    return synchronized();
}
int cuEventQuery(void *handle) {
    std::lock_guard lock(mutex());
    if (error()) return error();
    auto &event = *(Event *)handle;
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
    *graph = new std::shared_ptr<Graph>(std::move(from.captured));
    from.captured = nullptr;
    count("graphs");
    return SUCCESS;
}
int cuStreamIsCapturing(void *stream, int *status) {
    std::lock_guard lock(mutex());
    return *status = is_capturing(stream), SUCCESS;
}
int cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long) {
    return *executable = new std::shared_ptr<Graph>(*(std::shared_ptr<Graph> *)graph), SUCCESS;
}
int cuGraphUpload(void *, void *) { return SUCCESS; }
int cuGraphLaunch(void *executable, void *stream) {
    std::lock_guard lock(mutex());
    if (error()) return error();
    count("graph_launches");
    for (const Work &work : (*(std::shared_ptr<Graph> *)executable)->work) enqueue(stream, work);
    return SUCCESS;
}
int cuGraphExecDestroy(void *executable) {
    delete (std::shared_ptr<Graph> *)executable;
    return SUCCESS;
}
int cuGraphDestroy(void *graph) {
    delete (std::shared_ptr<Graph> *)graph;
    return SUCCESS;
}
}
