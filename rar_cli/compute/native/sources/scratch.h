// Memory of one thread's own, aligned to a line of the cache.

#pragma once

#include <cstdlib>

template <class T> struct Scratch {
    T* at;
    explicit Scratch(size_t count) : at(static_cast<T*>(std::aligned_alloc(64, (count * sizeof(T) + 63) / 64 * 64))) {}
    ~Scratch() { std::free(at); }
    Scratch(const Scratch&) = delete;
};
