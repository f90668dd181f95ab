// The driver's copies. From and to pinned memory they happen when the queue executes; pageable memory is read
// at the call, and written after the queue has executed.

#include "../stand-in.h"

#include <cstring>
#include <vector>

#include "queue.h"

using namespace stand_in;

namespace {

// Checks device memory at the call.
bool is_usable(const void *at, size_t bytes, const char *what) {
    if (bytes == 0 || is_live(at, bytes, true)) return true;
    fault(std::string(what) + ": " + std::to_string(bytes) + " bytes are not in a live allocation");
    return false;
}

// Marks a copy as what it is where a graph is captured.
void enqueue_copy(void *stream, void *to, const void *from, bool uses_host, Work work) {
    enqueue(stream, std::move(work));
    if (!is_capturing(stream)) return;
    auto &node = stream_of(stream).captured->nodes.back();
    node.kind = Graph::COPY;
    node.uses_host = uses_host;
    node.from = from;
    node.to = to;
}

int to_device(void *to, const void *from, size_t bytes, void *stream) {
    if (error_of(stream)) return error_of(stream);
    if (!is_usable(to, bytes, "copy to the device")) return error();
    count("bytes_to_device", (long long)bytes);
    if (is_pinned(from, bytes)) {
        count("copies_to_device.pinned");
        enqueue_copy(stream, to, from, true, [=] {
            if (require(from, bytes, "source of a copy") && require(to, bytes, "copy to the device")) std::memcpy(to, from, bytes);
        });
        return SUCCESS;
    }
    // A graph reads the address again at each launch, whatever is there then.
    if (is_capturing(stream)) {
        count("copies_to_device.captured");
        enqueue_copy(stream, to, from, true, [=] { std::memcpy(to, from, bytes); });
        return SUCCESS;
    }
    count("copies_to_device.pageable");
    const auto *first = (const unsigned char *)from;
    enqueue(stream, [=, kept = std::vector<unsigned char>(first, first + bytes)] {
        if (require(to, bytes, "copy to the device")) std::memcpy(to, kept.data(), bytes);
    });
    return SUCCESS;
}

// What the host reads: zeros where nothing is computed.
void read(void *to, const void *from, size_t bytes) {
    executes() ? std::memcpy(to, from, bytes) : std::memset(to, 0, bytes);
}

int to_host(void *to, const void *from, size_t bytes, void *stream) {
    if (error_of(stream)) return error_of(stream);
    if (!is_usable(from, bytes, "copy to the host")) return error();
    count("bytes_to_host", (long long)bytes);
    if (is_pinned(to, bytes)) {
        count("copies_to_host.pinned");
        enqueue_copy(stream, to, from, true, [=] {
            if (require(from, bytes, "copy to the host") && require(to, bytes, "destination of a copy")) read(to, from, bytes);
        });
        return SUCCESS;
    }
    if (is_capturing(stream)) return invalidate(stream, STREAM_CAPTURE_UNSUPPORTED);
    count("copies_to_host.pageable");
    count("synchronizations");
    execute(stream_of(stream));
    if (error() == SUCCESS && require(from, bytes, "copy to the host")) read(to, from, bytes);
    return error();
}

int on_device(void *to, const void *from, size_t bytes, void *stream) {
    if (error_of(stream)) return error_of(stream);
    if (!is_usable(from, bytes, "copy") || !is_usable(to, bytes, "copy")) return error();
    count("copies_on_device");
    enqueue_copy(stream, to, from, false, [=] {
        if (require(from, bytes, "copy") && require(to, bytes, "copy") && executes()) std::memmove(to, from, bytes);
    });
    return SUCCESS;
}

int set(void *at, unsigned char value, size_t bytes, void *stream) {
    if (error_of(stream)) return error_of(stream);
    if (!is_usable(at, bytes, "memset")) return error();
    count("memsets");
    enqueue(stream, [=] {
        if (require(at, bytes, "memset") && executes()) std::memset(at, value, bytes);
    });
    return SUCCESS;
}

// A call without a stream: after everything before it, and done when it returns.
template <typename Call> int synchronously(Call call) {
    execute_legacy();
    count("synchronizations");
    const int result = call();
    execute_legacy();
    return result ? result : error();
}

} // namespace

extern "C" {

int cuMemcpyHtoDAsync_v2(void *to, const void *from, size_t bytes, void *stream) {
    std::lock_guard lock(mutex());
    return to_device(to, from, bytes, stream);
}
int cuMemcpyDtoHAsync_v2(void *to, const void *from, size_t bytes, void *stream) {
    std::lock_guard lock(mutex());
    return to_host(to, from, bytes, stream);
}
int cuMemcpyDtoDAsync_v2(void *to, const void *from, size_t bytes, void *stream) {
    std::lock_guard lock(mutex());
    return on_device(to, from, bytes, stream);
}
int cuMemsetD8Async(void *at, unsigned char value, size_t bytes, void *stream) {
    std::lock_guard lock(mutex());
    return set(at, value, bytes, stream);
}
int cuMemcpyHtoD_v2(void *to, const void *from, size_t bytes) {
    std::lock_guard lock(mutex());
    return synchronously([=] { return to_device(to, from, bytes, nullptr); });
}
int cuMemcpyDtoH_v2(void *to, const void *from, size_t bytes) {
    std::lock_guard lock(mutex());
    return synchronously([=] { return to_host(to, from, bytes, nullptr); });
}
int cuMemcpyDtoD_v2(void *to, const void *from, size_t bytes) {
    std::lock_guard lock(mutex());
    return on_device(to, from, bytes, nullptr);
}
int cuMemsetD8_v2(void *at, unsigned char value, size_t bytes) {
    std::lock_guard lock(mutex());
    return set(at, value, bytes, nullptr);
}
int cuMemcpyPeerAsync(void *to, void *, const void *from, void *, size_t bytes, void *stream) {
    return cuMemcpyDtoDAsync_v2(to, from, bytes, stream);
}
}
