// One device with the numbers of an H100, its contexts, and the names of errors.

#include "../stand-in.h"

#include <cstdio>
#include <cstring>

#include "memory.h"

using namespace stand_in;

namespace {
int context_of_device;
thread_local void *current;

struct Named {
    int error;
    const char *name, *text;
};
const Named NAMES[] = {
    {SUCCESS, "CUDA_SUCCESS", "no error"},
    {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {STREAM_CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
    {STREAM_CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture"},
};
} // namespace

extern "C" {

int cuGetErrorName(int error, const char **name) {
    for (const Named &named : NAMES)
        if (named.error == error) return *name = named.name, SUCCESS;
    return *name = "CUDA_ERROR_UNKNOWN", INVALID_VALUE;
}
int cuGetErrorString(int error, const char **text) {
    for (const Named &named : NAMES)
        if (named.error == error) return *text = named.text, SUCCESS;
    return *text = "unknown error", INVALID_VALUE;
}

int cuInit(unsigned) { return SUCCESS; }
int cuDriverGetVersion(int *version) { return *version = 13000, SUCCESS; }
int cuDeviceGetCount(int *devices) { return *devices = 1, SUCCESS; }
int cuDeviceGet(int *device, int ordinal) { return *device = ordinal, ordinal == 0 ? SUCCESS : 101; }
int cuDeviceGetName(char *name, int len, int) {
    std::snprintf(name, len, "stand-in (CPU)");
    return SUCCESS;
}
int cuDeviceGetUuid_v2(char *uuid, int) {
    std::memset(uuid, 0, 16);
    return SUCCESS;
}
int cuDeviceTotalMem_v2(size_t *bytes, int) { return *bytes = memory_state().total, SUCCESS; }

int cuDeviceGetAttribute(int *value, int attribute, int) {
    switch (attribute) {
    case 1: *value = 1024; break;     // threads of a block
    case 2: case 3: *value = 1024; break;
    case 4: *value = 64; break;
    case 5: *value = 2147483647; break; // blocks of a grid
    case 6: case 7: *value = 65535; break;
    case 8: *value = 48 << 10; break; // shared memory of a block
    case 10: *value = 32; break;      // threads of a warp
    case 12: *value = 65536; break;   // registers of a block
    case 13: *value = 1980000; break; // kHz
    case 16: *value = 132; break;     // multiprocessors
    case 39: *value = 2048; break;    // threads of a multiprocessor
    case 41: *value = 1; break;       // unified addresses
    case 75: *value = 9; break;       // compute capability
    case 76: *value = 0; break;
    case 97: *value = 227 << 10; break;
    case 115: *value = 1; break;      // memory pools
    default: *value = 0;
    }
    return SUCCESS;
}

int cuDevicePrimaryCtxRetain(void **context, int) { return *context = &context_of_device, SUCCESS; }
int cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }
int cuCtxGetCurrent(void **context) { return *context = current, SUCCESS; }
int cuCtxSetCurrent(void *context) { return current = context, SUCCESS; }
int cuCtxGetDevice(int *device) { return *device = 0, SUCCESS; }
int cuCtxSetFlags(unsigned) { return SUCCESS; }
int cuCtxDestroy_v2(void *) { return SUCCESS; }
}
