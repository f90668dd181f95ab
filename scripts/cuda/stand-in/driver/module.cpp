// Modules and kernels: entry points read from PTX, and launches, whose arguments are checked when they are
// asked for and again when the queue executes.

#include "../stand-in.h"

#include <cstdio>
#include <cstring>
#include <map>
#include <regex>
#include <vector>

using namespace stand_in;

namespace {

struct Parameter {
    size_t bytes;
    bool is_pointer;
};
struct Function {
    std::string name;
    std::vector<Parameter> parameters;
};
struct Module {
    std::map<std::string, Function> functions;
};

std::map<std::string, Kernel> &kernels() {
    static auto *all = new std::map<std::string, Kernel>;
    return *all;
}

Module *read_ptx(const std::string &text) {
    static const std::regex entry(R"(\.entry (\w+)\(([^)]*)\))"), parameter(R"(\.param (?:\.align \d+ )?\.[a-z](\d+) (\.ptr \.align \d+ )?\w+(?:\[(\d+)\])?)");
    auto *module = new Module;
    for (std::sregex_iterator at(text.begin(), text.end(), entry), end; at != end; ++at) {
        Function function{(*at)[1], {}};
        const std::string list = (*at)[2];
        for (std::sregex_iterator p(list.begin(), list.end(), parameter); p != end; ++p)
            function.parameters.push_back({std::stoul((*p)[1]) / 8 * ((*p)[3].matched ? std::stoul((*p)[3]) : 1), (*p)[2].matched});
        module->functions[function.name] = function;
    }
    return module;
}

// The arguments' values, in the order of the parameters, each in whole words.
using Arguments = std::vector<std::vector<uint64_t>>;

bool are_live(const Function &function, const Arguments &arguments, bool asked, const char *when) {
    for (size_t i = 0; i < function.parameters.size(); i++) {
        const auto at = (const void *)arguments[i][0];
        if (function.parameters[i].is_pointer && at && !is_live(at, 0, asked)) {
            fault(function.name + ": argument " + std::to_string(i) + " is no address in a live allocation " + when);
            return false;
        }
    }
    return true;
}

} // namespace

namespace stand_in {
Register::Register(const Kernel *first, size_t len) {
    for (size_t i = 0; i < len; i++) kernels()[first[i].name] = first[i];
}
} // namespace stand_in

extern "C" {

int cuModuleLoadData(Module **module, const void *image) {
    std::lock_guard lock(mutex());
    if (error()) return error();
    // From the stand-ins or from NVIDIA's compilers: both mark the parameters that are pointers.
    *module = read_ptx((const char *)image);
    return SUCCESS;
}

int cuModuleUnload(Module *) { return SUCCESS; }

int cuModuleGetFunction(Function **function, Module *module, const char *name) {
    std::lock_guard lock(mutex());
    const auto found = module->functions.find(name);
    if (found == module->functions.end() || !kernels().count(name)) {
        std::fprintf(stderr, "stand-in: there is no kernel %s\n", name);
        return NOT_FOUND;
    }
    *function = &found->second;
    return SUCCESS;
}

int cuFuncGetAttribute(int *value, int attribute, Function *) {
    // The most threads of a block; registers of a thread; the architecture; nothing else is used.
    *value = attribute == 0 ? 1024 : attribute == 4 ? 32 : attribute == 5 || attribute == 6 ? 90 : 0;
    return SUCCESS;
}
int cuFuncSetAttribute(Function *, int, int) { return SUCCESS; }
int cuFuncSetCacheConfig(Function *, int) { return SUCCESS; }

int cuLaunchKernel(Function *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                   unsigned block_y, unsigned block_z, unsigned shared_bytes, void *stream, void **parameters,
                   void **extra) {
    std::lock_guard lock(mutex());
    if (error_of(stream)) return error_of(stream);
    const Size3 grid = {grid_x, grid_y, grid_z}, block = {block_x, block_y, block_z};
    const bool fits = grid.x && grid.y && grid.z && block.x && block.y && block.z && grid.x < 1u << 31 &&
                      grid.y < 1u << 16 && grid.z < 1u << 16 && block.x <= 1024 && block.y <= 1024 && block.z <= 64 &&
                      (uint64_t)block.x * block.y * block.z <= 1024 && shared_bytes <= 48 << 10;
    if (!fits || extra || (!parameters && !function->parameters.empty())) {
        std::fprintf(stderr, "stand-in: %s: a grid of %ux%ux%u blocks of %ux%ux%u threads, %u bytes shared\n",
                     function->name.c_str(), grid.x, grid.y, grid.z, block.x, block.y, block.z, shared_bytes);
        return INVALID_VALUE;
    }
    count("launches");
    count(("launches." + function->name).c_str());
    Arguments arguments;
    for (size_t i = 0; i < function->parameters.size(); i++) {
        const size_t bytes = function->parameters[i].bytes;
        arguments.emplace_back((bytes + 7) / 8);
        std::memcpy(arguments.back().data(), parameters[i], bytes);
    }
    if (!are_live(*function, arguments, true, "when it is launched")) return error();
    enqueue(stream, [=, kernel = kernels().at(function->name)]() mutable {
        if (!are_live(*function, arguments, false, "when the queue executes") || !executes()) return;
        std::vector<void *> addresses;
        for (auto &value : arguments) addresses.push_back(value.data());
        run_grid(kernel, grid, block, shared_bytes, addresses.data());
    });
    return SUCCESS;
}

int cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, Function *, int threads, size_t, unsigned) {
    *blocks = 2048 / threads;
    return SUCCESS;
}
}
