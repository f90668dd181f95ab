// Handles, version and errors of the stand-in for cuDNN.

#include "cudnn.h"

#include <cstdio>

namespace {
thread_local std::string last_error;
}

namespace cudnn {
int refuse(Status status, const std::string &reason) {
    last_error = reason;
    std::fprintf(stderr, "stand-in: cuDNN: %s\n", reason.c_str());
    return status;
}
int refuse_on_request(const char *variable) {
    last_error = std::string("asked for by ") + variable;
    return NOT_SUPPORTED;
}
} // namespace cudnn

using namespace cudnn;

extern "C" {

size_t cudnnGetVersion() { return (size_t)stand_in::setting("STAND_IN_CUDNN_VERSION", 91900); }
size_t cudnnGetCudartVersion() { return 13000; }
const char *cudnnGetErrorString(int status) { return status == SUCCESS ? "CUDNN_STATUS_SUCCESS" : "an error of the stand-in for cuDNN"; }
void cudnnGetLastErrorString(char *text, size_t len) { std::snprintf(text, len, "%s", last_error.c_str()); }

int cudnnCreate(Handle **handle) { return *handle = new Handle, SUCCESS; }
int cudnnDestroy(Handle *handle) {
    delete handle;
    return SUCCESS;
}
int cudnnSetStream(Handle *handle, void *stream) { return handle->stream = stream, SUCCESS; }
int cudnnGetStream(Handle *handle, void **stream) { return *stream = handle->stream, SUCCESS; }
}
