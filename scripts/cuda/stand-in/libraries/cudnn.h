// What the files of the stand-in for cuDNN share.

#pragma once

#include "convolution.h"

namespace cudnn {

// Numbers of cuDNN's statuses.
enum Status {
    SUCCESS = 0,
    BAD_PARAM = 2000,
    BAD_PARAM_NULL_POINTER = 2002,
    BAD_PARAM_MISALIGNED_POINTER = 2003,
    BAD_PARAM_NOT_FINALIZED = 2004,
    BAD_PARAM_SIZE_INSUFFICIENT = 2006,
    BAD_PARAM_SHAPE_MISMATCH = 2008,
    BAD_PARAM_ATTRIBUTE_TYPE = 2010,
    BAD_PARAM_DESCRIPTOR_TYPE = 2012,
    NOT_SUPPORTED = 3000,
    NOT_SUPPORTED_DATA_TYPE = 3003,
    NOT_SUPPORTED_LAYOUT = 3004,
    EXECUTION_FAILED = 5000,
};

enum { DATA_FLOAT = 0, DATA_BFLOAT16 = 9 };

struct Handle {
    void *stream = nullptr;
};

// Keeps the reason for `cudnnGetLastErrorString`, prints it, and returns the status.
int refuse(Status status, const std::string &reason);
// The same for what was asked for by STAND_IN_FAIL_PLAN or STAND_IN_FAIL_EXECUTION.
int refuse_on_request(const char *variable);

} // namespace cudnn
