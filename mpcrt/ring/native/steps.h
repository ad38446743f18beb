// Operands of the elementwise protocol steps. Formulas: mpcrt/ring/reference_steps.py.
#pragma once
#include <cstddef>
#include <cstdint>

namespace mpcrt {

// n words, or n 32-bit values that count as words; null: zeros (or, for a coefficient, -1).
struct Vector {
    const void* data;
    bool narrow;
};

constexpr int most_terms = 4;

struct SelectTerm {
    Vector share, crossed, coefficient;
};

struct Select {
    const uint64_t* bits;    // packed
    const uint64_t* beta;    // my share of the bit's mask
    const uint64_t* factor;  // A, or null for 1
    bool lead;
    int terms;
    SelectTerm term[most_terms];
};

}  // namespace mpcrt
