// Operands of the sampled functions. Formulas and layouts: mpcrt/ring/samples.py.
#pragma once
#include <cstddef>
#include <cstdint>

#include "source.h"

namespace mpcrt {

constexpr int trig_bits = 30;

// Tables of 2^turn_bits angles, in fixed point (public, at the parties) or floating point (the dealer's own).
template <class T> struct Turns {
    const T *cosines, *sines;
    int bits;
};

struct ExpBasis {
    uint64_t origin;        // of the windows: offset 2^input_fraction
    int bits, public_bits;  // a window has 2^bits units
    const int64_t* table;   // e^(i / 128) of table_bits fraction bits, i < 1024
    int table_bits;
};

struct SeriesBasis {
    uint64_t multiplier, first, step;
    int harmonics, public_bits;
};

struct ChebyshevBasis {
    int window_bits, table_bits, degree, public_bits;
};

}  // namespace mpcrt
