// The stand-ins' own test: what a program does wrong must give a wrong result or an error, and what it does
// right the right one. Each case runs in a process of its own, since a fault ends the device.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

extern "C" {
int cuModuleLoadData(void **, const void *);
int cuModuleGetFunction(void **, void *, const char *);
int cuLaunchKernel(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, void **);
int cuMemAllocAsync(void **, size_t, void *);
int cuMemFreeAsync(void *, void *);
int cuMemHostAlloc(void **, size_t, unsigned);
int cuMemFreeHost(void *);
int cuMemGetInfo_v2(size_t *, size_t *);
int cuMemcpyHtoDAsync_v2(void *, const void *, size_t, void *);
int cuMemcpyDtoHAsync_v2(void *, const void *, size_t, void *);
int cuMemcpyDtoDAsync_v2(void *, const void *, size_t, void *);
int cuMemsetD8Async(void *, unsigned char, size_t, void *);
int cuStreamCreate(void **, unsigned);
int cuStreamSynchronize(void *);
int cuStreamWaitEvent(void *, void *, unsigned);
int cuStreamBeginCapture_v2(void *, int);
int cuStreamEndCapture(void *, void **);
int cuGraphInstantiateWithFlags(void **, void *, unsigned long long);
int cuGraphLaunch(void *, void *);
int cuEventCreate(void **, unsigned);
int cuEventRecord(void *, void *);
int cuEventSynchronize(void *);
int cuEventQuery(void *);
long long stand_in_count(const char *);
}

namespace {

constexpr int LEN = 1000, BYTES = LEN * 4, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_FOUND = 500, NOT_READY = 600,
              ILLEGAL_ADDRESS = 700, CAPTURES = 900, INVALIDATED = 901, ISOLATED = 905, CAPTURED_EVENT = 907;

const char *PTX = R"(
.visible .entry fill_f32(
	.param .u64 .ptr .align 1 a, .param .b32 b, .param .b64 c
)
.visible .entry fast_sum_f32(
	.param .b64 a, .param .b64 b, .param .b64 c, .param .u64 .ptr .align 1 d, .param .u64 .ptr .align 1 e, .param .u64 .ptr .align 1 f
)
)";

void expect(bool holds, const char *what) {
    if (holds) return;
    std::printf("  wrong: %s\n", what);
    std::fflush(stdout);
    _exit(1);
}
#define EXPECT(condition) expect(condition, #condition)
void ok(int status) { expect(status == 0, "a call succeeds"); }

void *stream() {
    void *made;
    ok(cuStreamCreate(&made, 1));
    return made;
}
void *device(void *stream, size_t bytes = BYTES) {
    void *made;
    ok(cuMemAllocAsync(&made, bytes, stream));
    return made;
}
float *pinned() {
    void *made;
    ok(cuMemHostAlloc(&made, BYTES, 0));
    return (float *)made;
}
void *event() {
    void *made;
    ok(cuEventCreate(&made, 0));
    return made;
}
void fill_all(float *at, float value) {
    for (int i = 0; i < LEN; i++) at[i] = value;
}
int launch(void *function, void *stream, unsigned blocks, unsigned threads, std::vector<void *> arguments) {
    return cuLaunchKernel(function, blocks, 1, 1, threads, 1, 1, 0, stream, arguments.data(), nullptr);
}
void *kernel(const char *name) {
    void *module, *function;
    ok(cuModuleLoadData(&module, PTX));
    ok(cuModuleGetFunction(&function, module, name));
    return function;
}
int fill(void *at, float value, size_t len, void *stream) {
    return launch(kernel("fill_f32"), stream, 4, 256, {&at, &value, &len});
}
// The first number, by a copy to pageable memory, which waits for the stream.
float first(void *at, void *stream) {
    std::vector<float> host(LEN);
    ok(cuMemcpyDtoHAsync_v2(host.data(), at, BYTES, stream));
    return host[0];
}

// A pinned buffer that is filled again before its copy has run is copied as it is then.
void pinned_buffer_refilled_too_early() {
    void *s = stream(), *to = device(s);
    float *from = pinned();
    fill_all(from, 1);
    ok(cuMemcpyHtoDAsync_v2(to, from, BYTES, s));
    fill_all(from, 2);
    EXPECT(first(to, s) == 2);
}
void pinned_buffer_refilled_after_its_event() {
    void *s = stream(), *to = device(s), *copied = event();
    float *from = pinned();
    fill_all(from, 1);
    ok(cuMemcpyHtoDAsync_v2(to, from, BYTES, s));
    ok(cuEventRecord(copied, s));
    EXPECT(cuEventQuery(copied) == NOT_READY);
    ok(cuEventSynchronize(copied));
    fill_all(from, 2);
    EXPECT(first(to, s) == 1);
}
void pinned_buffer_freed_too_early() {
    void *s = stream(), *to = device(s);
    float *from = pinned();
    ok(cuMemcpyHtoDAsync_v2(to, from, BYTES, s));
    ok(cuMemFreeHost(from));
    EXPECT(cuStreamSynchronize(s) == ILLEGAL_ADDRESS);
}
void pageable_buffer_is_read_at_the_call() {
    void *s = stream(), *to = device(s);
    std::vector<float> from(LEN, 1);
    ok(cuMemcpyHtoDAsync_v2(to, from.data(), BYTES, s));
    fill_all(from.data(), 2);
    EXPECT(first(to, s) == 1);
}
void pinned_result_read_too_early() {
    void *s = stream(), *from = device(s);
    float *to = pinned();
    fill_all(to, 5);
    ok(fill(from, 1, LEN, s));
    ok(cuMemcpyDtoHAsync_v2(to, from, BYTES, s));
    EXPECT(to[0] == 5);
    ok(cuStreamSynchronize(s));
    EXPECT(to[0] == 1);
}
void freed_memory_launched_with() {
    void *s = stream(), *at = device(s);
    ok(cuMemFreeAsync(at, s));
    EXPECT(fill(at, 1, LEN, s) == ILLEGAL_ADDRESS);
}
// What another stream frees first is gone when the queue runs.
void freed_memory_read_by_another_stream() {
    void *a = stream(), *b = stream(), *at = device(a), *to = device(b);
    ok(fill(at, 1, LEN, a));
    ok(cuMemcpyDtoDAsync_v2(to, at, BYTES, b));
    ok(cuMemFreeAsync(at, a));
    ok(cuStreamSynchronize(a));
    EXPECT(cuStreamSynchronize(b) == ILLEGAL_ADDRESS);
}
void memory_freed_in_the_order_of_the_stream() {
    void *s = stream(), *at = device(s), *to = device(s);
    ok(fill(at, 1, LEN, s));
    ok(cuMemcpyDtoDAsync_v2(to, at, BYTES, s));
    ok(cuMemFreeAsync(at, s));
    EXPECT(first(to, s) == 1);
}
void memory_freed_twice() {
    void *s = stream(), *at = device(s);
    ok(cuMemFreeAsync(at, s));
    EXPECT(cuMemFreeAsync(at, s) == ILLEGAL_ADDRESS);
}
void missing_wait_for_an_event() {
    void *a = stream(), *b = stream(), *at = device(a), *to = device(b);
    ok(fill(at, 1, LEN, a));
    ok(cuMemcpyDtoDAsync_v2(to, at, BYTES, b));
    const float found = first(to, b);
    EXPECT(found != found);
}
void wait_for_an_event() {
    void *a = stream(), *b = stream(), *at = device(a), *to = device(b), *filled = event();
    ok(fill(at, 1, LEN, a));
    ok(cuEventRecord(filled, a));
    ok(cuStreamWaitEvent(b, filled, 0));
    ok(cuMemcpyDtoDAsync_v2(to, at, BYTES, b));
    EXPECT(first(to, b) == 1);
}
void unwritten_memory_is_nan() {
    void *s = stream();
    const float found = first(device(s), s);
    EXPECT(found != found);
}
void write_beside_an_allocation() {
    void *s = stream(), *at = device(s);
    ok(fill(at, 1, LEN + 1, s));
    EXPECT(cuStreamSynchronize(s) == ILLEGAL_ADDRESS);
}
void address_in_no_allocation() {
    void *s = stream();
    float host[LEN];
    EXPECT(fill(host, 1, LEN, s) == ILLEGAL_ADDRESS);
}
void block_of_too_many_threads() {
    void *s = stream(), *at = device(s);
    float value = 1;
    size_t len = LEN;
    EXPECT(launch(kernel("fill_f32"), s, 1, 1025, {&at, &value, &len}) == 1);
}
void kernel_that_is_not_there() {
    void *module, *function;
    ok(cuModuleLoadData(&module, PTX));
    EXPECT(cuModuleGetFunction(&function, module, "fill_f128") == NOT_FOUND);
}
// Shuffles and barriers: a kernel of candle that adds up with both.
void sum_by_shuffles_and_barriers() {
    void *s = stream(), *from = device(s), *to = device(s), *info = device(s);
    std::vector<float> numbers(LEN);
    for (int i = 0; i < LEN; i++) numbers[i] = (float)i;
    ok(cuMemcpyHtoDAsync_v2(from, numbers.data(), BYTES, s));
    const size_t dims_and_strides[2] = {LEN, 1};
    ok(cuMemcpyHtoDAsync_v2(info, dims_and_strides, sizeof dims_and_strides, s));
    size_t len = LEN, dims = 1;
    ok(launch(kernel("fast_sum_f32"), s, 1, 256, {&len, &len, &dims, &info, &from, &to}));
    EXPECT(first(to, s) == LEN * (LEN - 1) / 2);
}
void graph_runs_when_it_is_launched() {
    void *s = stream(), *at = device(s), *graph, *executable;
    ok(fill(at, 1, LEN, s));
    ok(cuStreamBeginCapture_v2(s, 0));
    ok(fill(at, 2, LEN, s));
    ok(cuStreamEndCapture(s, &graph));
    ok(cuGraphInstantiateWithFlags(&executable, graph, 0));
    EXPECT(first(at, s) == 1);
    ok(cuGraphLaunch(executable, s));
    EXPECT(first(at, s) == 2);
}
// What a stream does between the beginning and the end of a capture.
template <typename Do> void *captured(void *stream, Do work) {
    void *graph, *executable;
    ok(cuStreamBeginCapture_v2(stream, 0));
    work();
    ok(cuStreamEndCapture(stream, &graph));
    ok(cuGraphInstantiateWithFlags(&executable, graph, 0));
    return executable;
}
void graph_allocates_and_frees_at_each_launch() {
    void *s = stream(), *to = device(s), *own;
    void *graph = captured(s, [&] {
        own = device(s);
        ok(cuMemcpyDtoDAsync_v2(to, own, BYTES, s));
        ok(fill(own, 1, LEN, s));
        ok(cuMemFreeAsync(own, s));
    });
    for (int i = 0; i < 2; i++) {
        ok(fill(to, 5, LEN, s));
        ok(cuGraphLaunch(graph, s));
        const float found = first(to, s);
        EXPECT(found != found);
    }
    EXPECT(stand_in_count("allocations") == 1 && stand_in_count("graph_allocations") == 1);
    EXPECT(fill(own, 1, LEN, s) == ILLEGAL_ADDRESS);
}
void graph_that_frees_other_memory() {
    void *s = stream(), *at = device(s);
    captured(s, [&] { EXPECT(cuMemFreeAsync(at, s) == INVALID_VALUE); });
}
void graph_that_keeps_memory_runs_once() {
    void *s = stream(), *graph = captured(s, [&] { device(s); });
    ok(cuGraphLaunch(graph, s));
    EXPECT(cuGraphLaunch(graph, s) == INVALID_VALUE);
}
void graph_reads_the_host_at_each_launch() {
    void *s = stream(), *to = device(s);
    std::vector<float> from(LEN, 1);
    void *graph = captured(s, [&] { ok(cuMemcpyHtoDAsync_v2(to, from.data(), BYTES, s)); });
    fill_all(from.data(), 2);
    ok(cuGraphLaunch(graph, s));
    EXPECT(first(to, s) == 2);
}
void graph_and_events_of_outside() {
    void *s = stream(), *before = event(), *within = event();
    ok(cuEventRecord(before, s));
    captured(s, [&] { ok(cuEventRecord(within, s)); });
    EXPECT(cuEventSynchronize(within) == CAPTURED_EVENT);
    void *graph;
    ok(cuStreamBeginCapture_v2(s, 0));
    EXPECT(cuStreamWaitEvent(s, before, 0) == ISOLATED && cuStreamEndCapture(s, &graph) == INVALIDATED);
}
void wait_within_a_capture_invalidates_it() {
    void *s = stream(), *at = device(s), *graph;
    ok(cuStreamBeginCapture_v2(s, 0));
    EXPECT(cuStreamSynchronize(s) == CAPTURES);
    EXPECT(fill(at, 2, LEN, s) == INVALIDATED && cuMemFreeAsync(at, s) == INVALIDATED);
    EXPECT(cuStreamEndCapture(s, &graph) == INVALIDATED && !graph);
    ok(fill(at, 1, LEN, s));
    EXPECT(first(at, s) == 1);
}
void allocation_that_fails_on_request() {
    setenv("STAND_IN_FAIL_ALLOC", "2", 1);
    void *s = stream(), *at = device(s), *other;
    EXPECT(at && cuMemAllocAsync(&other, BYTES, s) == OUT_OF_MEMORY);
    ok(cuMemAllocAsync(&other, BYTES, s));
}
void memory_of_a_given_size() {
    setenv("STAND_IN_MEMORY", "10000", 1);
    void *s = stream(), *at = device(s), *other;
    size_t free, total;
    ok(cuMemGetInfo_v2(&free, &total));
    EXPECT(at && free == 6000 && total == 10000);
    EXPECT(cuMemAllocAsync(&other, 6001, s) == OUT_OF_MEMORY);
}
void counters() {
    void *s = stream(), *at = device(s);
    ok(fill(at, 1, LEN, s));
    EXPECT(stand_in_count("launches") == 1 && stand_in_count("launches.fill_f32") == 1);
    EXPECT(stand_in_count("allocations") == 1 && stand_in_count("peak_bytes") == BYTES);
}

struct Case {
    const char *name;
    void (*run)();
};
#define CASE(name) {#name, name}
const Case CASES[] = {
    CASE(pinned_buffer_refilled_too_early), CASE(pinned_buffer_refilled_after_its_event), CASE(pinned_buffer_freed_too_early),
    CASE(pageable_buffer_is_read_at_the_call), CASE(pinned_result_read_too_early), CASE(freed_memory_launched_with),
    CASE(freed_memory_read_by_another_stream), CASE(memory_freed_in_the_order_of_the_stream), CASE(memory_freed_twice),
    CASE(missing_wait_for_an_event), CASE(wait_for_an_event), CASE(unwritten_memory_is_nan), CASE(write_beside_an_allocation),
    CASE(address_in_no_allocation), CASE(block_of_too_many_threads), CASE(kernel_that_is_not_there),
    CASE(sum_by_shuffles_and_barriers), CASE(graph_runs_when_it_is_launched),
    CASE(graph_allocates_and_frees_at_each_launch), CASE(graph_that_frees_other_memory), CASE(graph_that_keeps_memory_runs_once),
    CASE(graph_reads_the_host_at_each_launch), CASE(graph_and_events_of_outside), CASE(wait_within_a_capture_invalidates_it),
    CASE(allocation_that_fails_on_request), CASE(memory_of_a_given_size), CASE(counters),
};

} // namespace

int main() {
    int failures = 0;
    for (const Case &test : CASES) {
        std::fflush(stdout);
        const pid_t child = fork();
        if (child == 0) {
            // What the stand-ins print about faults is expected.
            if (!std::freopen("/dev/null", "w", stderr)) _exit(2);
            test.run();
            _exit(0);
        }
        int status;
        waitpid(child, &status, 0);
        const bool passed = WIFEXITED(status) && WEXITSTATUS(status) == 0;
        std::printf("%s: %s\n", test.name, passed ? "ok" : "FAILED");
        failures += !passed;
    }
    std::printf(failures ? "%d cases of the stand-ins failed\n" : "all cases of the stand-ins passed\n", failures);
    return failures ? 1 : 0;
}
