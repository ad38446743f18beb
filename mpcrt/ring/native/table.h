// The kernels of one level, as function pointers.
#pragma once
#include <cstddef>
#include <cstdint>

#include "bilinear.h"
#include "compare.h"
#include "cpu.h"
#include "key.h"
#include "samples.h"
#include "steps.h"

namespace mpcrt {

struct Table {
    // prg.cpp; null at the portable level
    void (*prg)(const Key&, Stream, uint64_t offset, size_t count, uint64_t* out, Combine);
    // gemm.cpp, gemm_amx.cpp
    void (*gemm)(const Rows& a, const Matrix& b, const Product& c);
    // bits.cpp
    void (*pack)(const uint8_t* bits, size_t n, uint64_t* words);
    void (*unpack)(const uint64_t* words, size_t n, uint8_t* bits);
    // compare.cpp
    void (*look_up)(const uint64_t* opened, const Extent&, const Digits&, const Source& tables, bool equal, bool lead,
                    uint64_t* lt, uint64_t* eq, uint64_t* sign);
    void (*deal_tables)(const Source& mask, const Extent&, const Digits&, bool equal, const Source& less, uint64_t* tables,
                        uint64_t* sign);
    void (*planes)(const PlaneProgram&, size_t superblocks, int words_per_plane);
    // samples.cpp
    void (*series_sum)(const uint64_t* d, size_t n, const Source& samples, const SeriesBasis&, const Turns<int64_t>&,
                       uint64_t* out);
    void (*exp_sum)(const uint64_t* d, size_t n, const Source& samples, const ExpBasis&, uint64_t* out);
    void (*chebyshev_sum)(const uint64_t* d, size_t n, const uint64_t* samples, const ChebyshevBasis&, uint64_t* out);
    void (*series_deal)(const Source& mask, size_t n, const SeriesBasis&, bool odd, const double* coefficients,
                        const Turns<double>&, const Source& less, uint64_t* samples);
    void (*exp_deal)(const Source& mask, size_t n, int bits, double unit_size, const double* table, const double* steps,
                     const Source& less, uint64_t* samples);
    // steps.cpp
    void (*cross)(size_t n, const uint64_t* dx, const uint64_t* dy, const Source& lx, const Source& ly, const Source& mask,
                  bool lead, uint64_t* out);
    void (*absorb)(size_t n, const Source& lx, const Source& ly, const Source& mask, uint64_t* out);
    void (*settle)(size_t n, const uint64_t* opened, int bits, const Source& sign, bool narrow, const Source& top, bool lead,
                   uint64_t* out);
    void (*select)(size_t n, const Select&, uint64_t* out);
    void (*multiply)(size_t n, const Multiply&, uint64_t* out);
    void (*deal)(size_t n, const Source& mask, const uint64_t* bits, const Dealt&, uint64_t* out);
};

// The kernels in use.
const Table& kernels();

Level level();

// Selects a level for tests; false where the processor or the build does not have it.
bool set_level(Level level);

#define MPCRT_DECLARE_LEVEL(name)  \
    namespace name {               \
    void add_gemm(Table&);         \
    void add_bits(Table&);         \
    void add_compare(Table&);      \
    void add_samples(Table&);      \
    void add_steps(Table&);        \
    }
MPCRT_DECLARE_LEVEL(portable)
MPCRT_DECLARE_LEVEL(avx2)
MPCRT_DECLARE_LEVEL(avx512)
namespace avx2 {
void add_prg(Table&);
}
namespace avx512 {
void add_prg(Table&);
}
namespace amx {
void add_gemm(Table&);
}
#undef MPCRT_DECLARE_LEVEL

}  // namespace mpcrt
