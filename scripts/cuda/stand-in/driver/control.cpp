// Settings, counters, and faults of the stand-ins. Counters are written to the file STAND_IN_COUNTS when the
// program ends; `stand_in_count` reads one of them any time.

#include "../stand-in.h"

#include <cstdio>
#include <cstdlib>
#include <map>

namespace stand_in {

std::recursive_mutex &mutex() {
    static auto *all = new std::recursive_mutex;
    return *all;
}

static int sticky = SUCCESS;

int error() { return sticky; }

void fault(const std::string &what) {
    std::fprintf(stderr, "stand-in: %s\n", what.c_str());
    if (sticky == SUCCESS) sticky = ILLEGAL_ADDRESS;
}

long long setting(const char *name, long long otherwise) {
    const char *value = std::getenv(name);
    return value && *value ? std::atoll(value) : otherwise;
}

bool executes() {
    static const bool is_on = setting("STAND_IN_EXECUTE", 1) != 0;
    return is_on;
}

bool fails(const char *name, long long &calls) {
    calls++;
    const char *value = std::getenv(name);
    if (!value || !*value) return false;
    char *end;
    const long long first = std::strtoll(value, &end, 10);
    return *end == '+' ? calls >= first : calls == first;
}

static void write_counts();

static std::map<std::string, long long> &counters() {
    static auto *all = [] {
        std::atexit(write_counts);
        return new std::map<std::string, long long>;
    }();
    return *all;
}

void count(const char *name, long long by) {
    std::lock_guard lock(mutex());
    counters()[name] += by;
}

void count_peak(const char *name, long long value) {
    std::lock_guard lock(mutex());
    auto &peak = counters()[name];
    if (value > peak) peak = value;
}

static void write_counts() {
    const char *path = std::getenv("STAND_IN_COUNTS");
    if (!path || !*path) return;
    std::FILE *file = std::fopen(path, "w");
    if (!file) return;
    for (const auto &[name, value] : counters()) std::fprintf(file, "%s %lld\n", name.c_str(), value);
    std::fclose(file);
}

} // namespace stand_in

// The value of a counter, 0 if nothing has counted.
extern "C" long long stand_in_count(const char *name) {
    std::lock_guard lock(stand_in::mutex());
    const auto found = stand_in::counters().find(name);
    return found == stand_in::counters().end() ? 0 : found->second;
}
