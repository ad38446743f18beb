// Operands that need not be in memory: kernels draw random words as they go.
#pragma once
#include <cstddef>
#include <cstdint>

#include "key.h"

namespace mpcrt {

// Words offset, offset + 1, ... of a stream.
struct Drawn {
    const Key* key;
    Stream stream;
    uint64_t offset;
};

constexpr int most_drawn = 8;

// A vector of words: memory, or the sum (of bits and tables the exclusive or) of streams, or zeros.
struct Source {
    const uint64_t* data;
    int count;
    Drawn drawn[most_drawn];
    bool given() const { return data || count; }
};

}  // namespace mpcrt
