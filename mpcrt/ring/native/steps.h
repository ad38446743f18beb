// Operands of the elementwise protocol steps. Formulas: mpcrt/ring/reference_steps.py.
#pragma once
#include "source.h"

namespace mpcrt {

// D of a wire, or (drop > 0) of what a fork truncates by `drop` bits, with the parts that the dealer knows: a share of the
// mask, or of R and m (32 bits each where narrow).
struct Select {
    const uint64_t* bits;  // the public c, packed
    Source beta;
    bool lead;
    const uint64_t* opened;
    int drop;
    bool narrow;
    int terms;  // 0: x is public
    Source share[2], crossed[2];
};

// A factor: D of a wire with a share of l, or (drop > 0) of a fork with shares of R and m (32 bits each where narrow).
struct Factor {
    const uint64_t* opened;
    int drop;
    bool narrow;
    Source share, sign;
};

// A share of the product of l or R (m where i) of x and l or R (m where j) of y.
struct FactorProduct {
    bool i, j, narrow;
    Source share;
};

constexpr int most_products = 3;

struct Multiply {
    Factor x, y;
    bool lead;
    int products;
    FactorProduct product[most_products];
};

// One vector to deal: the (selected) mask shifted right, less what others draw; two values a word where narrow.
struct Row {
    int shift;
    bool narrow;
    Source less;
};

constexpr int most_rows = 4;

struct Dealt {
    int count;
    Row row[most_rows];
    size_t words(int r, size_t n) const { return row[r].narrow ? (n + 1) / 2 : n; }
};

}  // namespace mpcrt
