// Matrix products and convolutions mod 2^64: their operands, and how the work is split over threads.
#pragma once
#include <cstddef>
#include <cstdint>

namespace mpcrt {

// The left operand of a product, read row by row: a matrix, or the windows of a convolution's input. A convolution is
// a product whose left rows are gathered on the way into the packed panel, so its im2col matrix never exists.
struct Rows {
    long count, depth;
    Rows(long count, long depth) : count(count), depth(depth) {}
    virtual ~Rows() = default;
    // Elements k .. k + n - 1 of row r: a pointer into the operand, or to `scratch` after filling it.
    virtual const uint64_t* read(long r, long k, long n, uint64_t* scratch) const = 0;
};

// The right operand [depth, columns], any strides (in elements).
struct Matrix {
    const uint64_t* data;
    long depth, columns, row_stride, column_stride;
    const uint64_t* at(long k, long j) const { return data + k * row_stride + j * column_stride; }
};

// The rows [first, last) of the result to compute; columns are adjacent in memory.
struct Product {
    uint64_t* data;
    long row_stride, first, last;
};

struct Batched {
    const uint64_t* data;
    long stride, row_stride, column_stride;
};

// c[batch, m, n] = a[batch, m, k] b[batch, k, n]; c has unit column stride.
void matmul(long batch, long m, long n, long k, const Batched& a, const Batched& b, uint64_t* c, long c_stride,
            long c_row_stride, int threads);

constexpr int most_dimensions = 6;

// x[batch, *size, channels], C order; kernel[*window, channels / groups, features]; out[batch, *out, features].
struct Convolution {
    const uint64_t *x, *kernel;
    uint64_t* out;
    int rank;
    long batch, channels, features, groups;
    long size[most_dimensions], window[most_dimensions], out_size[most_dimensions];
    long stride[most_dimensions], low[most_dimensions], lhs_dilation[most_dimensions], rhs_dilation[most_dimensions];
};

void convolve(const Convolution&, int threads);

}  // namespace mpcrt
