// Operands of the block comparison kernels. Layouts: mpcrt/ring/blocks.py.
#pragma once
#include <cstddef>
#include <cstdint>

#include "source.h"

namespace mpcrt {

// Digits of `block` bits (4 or 6) of bits drop .. drop + width - 1; the last digit may be narrower.
struct Digits {
    int drop, width, block;
    int blocks() const { return (width + block - 1) / block; }
};

// n elements, padded with zeros to superblocks of 64 W elements.
struct Extent {
    size_t n;
    int words_per_plane;
    size_t superblocks() const { return (n + 64 * words_per_plane - 1) / (64 * words_per_plane); }
};

// A step of a program on bit planes: d = a, a ^ b, a & b, or d ^= a & b, for planes named (array, plane).
struct PlaneStep {
    enum Op : int32_t { copy, exclusive_or, conjunction, accumulate };
    int32_t op, d_array, d, a_array, a, b_array, b;
};

constexpr int most_plane_arrays = 8;
constexpr int temporaries = 7;  // this array is scratch, one superblock long
constexpr int most_temporaries = 1024;

struct PlaneProgram {
    const PlaneStep* steps;
    size_t count;
    Source arrays[most_plane_arrays];
    uint64_t* memory[most_plane_arrays];  // of the array, or (its planes and `slack` words) of a drawn one's superblock
    size_t planes[most_plane_arrays];     // a superblock, of each array
};

}  // namespace mpcrt
