// Streams, events and graphs as queues of work.

#pragma once

#include "../stand-in.h"

#include <deque>
#include <memory>
#include <vector>

namespace stand_in {

struct Graph {
    // What a program asks of a node.
    enum Kind { KERNEL = 0, COPY = 1, OTHER = 5 };
    struct Node {
        Work work;
        Kind kind = KERNEL;
        // Of a copy: whether it reads or writes the host's memory, and its addresses.
        bool uses_host = false;
        const void *from = nullptr;
        void *to = nullptr;
    };
    std::vector<Node> nodes;
    // Memory that it allocates at each launch; bytes that it has not freed, and the most at once.
    std::vector<void *> memory;
    size_t used = 0, used_high = 0;
    bool is_launched = false;
    // Whether an operation that may not be captured was tried.
    bool is_invalid = false;
    ~Graph();
};

struct Stream {
    std::deque<Work> work;
    // Does not wait for the legacy default stream.
    bool is_nonblocking = false;
    std::shared_ptr<Graph> captured;
};

// A point in a stream.
struct Point {
    Stream *stream;
    bool is_done = false;
    double milliseconds = 0;
};

struct Event {
    bool has_time = true;
    std::shared_ptr<Point> point;
    int polls = 0;
    bool is_captured = false;
};

// The stream of a handle; null, 1 and 2 are the default streams.
Stream &stream_of(void *handle);
void *create_stream(bool is_nonblocking);
void destroy_stream(void *handle);
// Executes a stream's queue, until a point if one is given.
void execute(Stream &stream, const Point *until = nullptr);
// Executes everything.
void execute_all();
// Executes the legacy default stream and those that wait for it.
void execute_legacy();
void record(Event &event, void *stream);
void wait(void *stream, const Event &event);

} // namespace stand_in
