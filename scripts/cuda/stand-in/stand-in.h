// What the stand-in libraries share: libcuda has the memory, the queues and the kernels, the others put
// their work into its queues. Everything happens under one lock, on the thread that synchronizes.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

namespace stand_in {

// Numbers of the driver's errors.
enum {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NO_DEVICE = 100,
    INVALID_HANDLE = 400,
    NOT_FOUND = 500,
    NOT_READY = 600,
    ILLEGAL_ADDRESS = 700,
    LAUNCH_FAILED = 719,
    NOT_SUPPORTED = 801,
    STREAM_CAPTURE_UNSUPPORTED = 900,
    STREAM_CAPTURE_INVALIDATED = 901,
    STREAM_CAPTURE_ISOLATION = 905,
    CAPTURED_EVENT = 907,
};

std::recursive_mutex &mutex();

// Prints what the program did wrong, and makes this and every later call an error, as a GPU does after an
// illegal address.
void fault(const std::string &what);
// The error of all later calls; 0 is none.
int error();

// ---- Memory. ----

enum class Place { Device, Pinned };
// Whether bytes lie in one allocation of which no free has been asked for (`asked`), or executed.
bool is_live(const void *at, size_t bytes, bool asked);
// Bytes from an address to the end of its live allocation; 0 for none.
size_t bytes_from(const void *at);
bool is_pinned(const void *at, size_t bytes);
// Faults unless bytes are live when a queue executes.
bool require(const void *at, size_t bytes, const char *what);

// ---- Queues. ----

using Work = std::function<void()>;
// Appends work to a stream, or to the graph that it captures.
void enqueue(void *stream, Work work);
// Whether a stream, or any stream, is capturing a graph.
bool is_capturing(void *stream);
// The error of the next call on a stream: that of all calls, or that of a capture which an operation has invalidated.
int error_of(void *stream);
// What a call on a stream that captures returns where it is not allowed; the capture is invalid from there on.
int invalidate(void *stream, int why);
bool is_any_capturing();

// ---- Settings and counts. ----

// A number in an environment variable; `otherwise` if it is not set.
long long setting(const char *name, long long otherwise);
// Whether work on device memory is executed; without STAND_IN_EXECUTE=0.
bool executes();
// Whether the n-th call fails, by a variable that says n, or n+ for all from there. `calls` counts.
bool fails(const char *name, long long &calls);
// Adds to a counter, which `STAND_IN_COUNTS` names the file of.
void count(const char *name, long long by = 1);
void count_peak(const char *name, long long value);

// ---- Kernels. ----

struct Kernel {
    const char *name;
    void (*run)(void **arguments);
};
struct Register {
    Register(const Kernel *kernels, size_t len);
};
struct Size3 {
    unsigned x, y, z;
};
// Runs all threads of a grid.
void run_grid(const Kernel &kernel, Size3 grid, Size3 block, unsigned shared_bytes, void **arguments);

} // namespace stand_in
