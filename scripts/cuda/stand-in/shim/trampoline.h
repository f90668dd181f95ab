// Calls of a kernel with the driver's array of arguments.

#pragma once

#include <utility>

#include "../stand-in.h"

template <auto Kernel> struct Run;

template <typename... Arguments, void (*Kernel)(Arguments...)> struct Run<Kernel> {
    template <size_t... I> static void call(void **arguments, std::index_sequence<I...>) {
        Kernel(*(std::remove_const_t<Arguments> *)arguments[I]...);
    }
    static void run(void **arguments) { call(arguments, std::index_sequence_for<Arguments...>()); }
};
