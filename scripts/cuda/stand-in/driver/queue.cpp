// Queues of work that execute at synchronization points only, on the thread that synchronizes: what the
// program does too early or does not wait for goes wrong every time.

#include "queue.h"

#include <algorithm>
#include <chrono>
#include <set>

#include "memory.h"

namespace stand_in {

static std::set<Stream *> &streams() {
    static auto *all = new std::set<Stream *>;
    return *all;
}

void *create_stream(bool is_nonblocking) {
    auto *stream = new Stream;
    stream->is_nonblocking = is_nonblocking;
    streams().insert(stream);
    return stream;
}

static Stream &legacy() {
    static auto *stream = (Stream *)create_stream(false);
    return *stream;
}

Stream &stream_of(void *handle) {
    if ((uintptr_t)handle <= 1) return legacy();
    if ((uintptr_t)handle == 2) {
        thread_local auto *own = (Stream *)create_stream(false);
        return *own;
    }
    return *(Stream *)handle;
}

void destroy_stream(void *handle) {
    auto *stream = (Stream *)handle;
    execute(*stream);
    streams().erase(stream);
    // Points may still name it.
}

void execute(Stream &stream, const Point *until) {
    while (!stream.work.empty() && !(until && until->is_done)) {
        Work work = std::move(stream.work.front());
        stream.work.pop_front();
        if (error() == SUCCESS) work();
    }
}

void execute_all() {
    const auto all = streams();
    for (Stream *stream : all) execute(*stream);
}

void execute_legacy() {
    const auto all = streams();
    for (Stream *stream : all)
        if (!stream->is_nonblocking) execute(*stream);
}

bool is_capturing(void *stream) { return stream_of(stream).captured != nullptr; }

int error_of(void *stream) {
    if (error()) return error();
    const auto &graph = stream_of(stream).captured;
    return graph && graph->is_invalid ? STREAM_CAPTURE_INVALIDATED : SUCCESS;
}

int invalidate(void *stream, int why) {
    if (const auto &graph = stream_of(stream).captured) graph->is_invalid = true;
    return why;
}

bool is_any_capturing() {
    return std::any_of(streams().begin(), streams().end(), [](Stream *stream) { return stream->captured != nullptr; });
}

Graph::~Graph() {
    for (void *at : memory) free_now(at);
}

void enqueue(void *handle, Work work) {
    Stream &stream = stream_of(handle);
    if (stream.captured)
        stream.captured->nodes.push_back({std::move(work)});
    else
        stream.work.push_back(std::move(work));
}

static double now() {
    using namespace std::chrono;
    return duration<double, std::milli>(steady_clock::now().time_since_epoch()).count();
}

void record(Event &event, void *handle) {
    auto point = std::make_shared<Point>(Point{&stream_of(handle)});
    event.point = point;
    event.polls = 0;
    event.is_captured = is_capturing(handle);
    enqueue(handle, [point] {
        point->is_done = true;
        point->milliseconds = now();
    });
}

void wait(void *handle, const Event &event) {
    // An event that was never recorded is done.
    if (!event.point || event.point->is_done) return;
    enqueue(handle, [point = event.point] { execute(*point->stream, point.get()); });
}

} // namespace stand_in
