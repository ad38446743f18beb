// 64-bit matrix product with packed panels, after Goto and van de Geijn (ACM TOMS 34:3, 2008).
//
// The left operand is packed in panels of tile_rows rows, the right one in panels of tile_columns columns, both with k
// running slowest, so that the innermost kernel reads two short contiguous runs a step and keeps a tile of sums in
// registers. Sums mod 2^64 are exact, so blocking and threads never change a bit.
#include "bilinear.h"
#include "cpu.h"
#include "simd.h"
#include "table.h"

namespace mpcrt::MPCRT_LEVEL {

constexpr long k_block = 256, row_block = 128, column_block = 1008;
constexpr int most_few_rows = 5;

MPCRT_INLINE long least(long a, long b) { return a < b ? a : b; }

#if defined(MPCRT_ZMM)

constexpr int tile_rows = 8, tile_columns = 24, words_a_column = 1;

MPCRT_INLINE void pack_column(uint64_t* panel, int column, uint64_t value) { panel[column] = value; }

// 24 accumulators of 8 words.
static void tile(long depth, const uint64_t* a, const uint64_t* b, uint64_t* c, long stride, bool accumulate) {
    Words sum[tile_rows][3] = {};
    for (long k = 0; k < depth; ++k, a += tile_rows, b += tile_columns) {
        const Words b0 = load(b), b1 = load(b + 8), b2 = load(b + 16);
        for (int ahead = 0; ahead < tile_columns; ahead += 8)
            _mm_prefetch((const char*)(b + 4 * tile_columns + ahead), _MM_HINT_T0);
#pragma GCC unroll 8
        for (int i = 0; i < tile_rows; ++i) {
            const Words ai = all(a[i]);
            sum[i][0] += mul(ai, b0);
            sum[i][1] += mul(ai, b1);
            sum[i][2] += mul(ai, b2);
        }
    }
    for (int i = 0; i < tile_rows; ++i)
        for (int j = 0; j < 3; ++j) {
            uint64_t* to = c + i * stride + 8 * j;
            store(to, accumulate ? sum[i][j] + load(to) : sum[i][j]);
        }
}

#elif defined(MPCRT_LEVEL_avx2)

// There is no 64-bit multiplication: a b = a_lo b_lo + 2^32 (a_lo b_hi + a_hi b_lo). Each column is packed twice, the
// second time with its halves swapped, so that one vpmulld gives both cross products in its two halves.
constexpr int tile_rows = 3, tile_columns = 8, words_a_column = 2;

MPCRT_INLINE void pack_column(uint64_t* panel, int column, uint64_t value) {
    panel[column] = value;
    panel[tile_columns + column] = value >> 32 | value << 32;
}

static void tile(long depth, const uint64_t* a, const uint64_t* b, uint64_t* c, long stride, bool accumulate) {
    __m256i low[tile_rows][2], cross[tile_rows][2];
    for (int i = 0; i < tile_rows; ++i)
        for (int j = 0; j < 2; ++j) low[i][j] = cross[i][j] = _mm256_setzero_si256();
    for (long k = 0; k < depth; ++k, a += tile_rows, b += 2 * tile_columns) {
#pragma GCC unroll 3
        for (int i = 0; i < tile_rows; ++i) {
            const __m256i ai = _mm256_set1_epi64x(a[i]);
#pragma GCC unroll 2
            for (int j = 0; j < 2; ++j) {
                const __m256i plain = _mm256_loadu_si256((const __m256i*)(b + 4 * j));
                const __m256i swapped = _mm256_loadu_si256((const __m256i*)(b + tile_columns + 4 * j));
                low[i][j] = _mm256_add_epi64(low[i][j], _mm256_mul_epu32(ai, plain));
                cross[i][j] = _mm256_add_epi32(cross[i][j], _mm256_mullo_epi32(ai, swapped));
            }
        }
    }
    for (int i = 0; i < tile_rows; ++i)
        for (int j = 0; j < 2; ++j) {
            const __m256i both = _mm256_add_epi32(cross[i][j], _mm256_srli_epi64(cross[i][j], 32));
            __m256i sum = _mm256_add_epi64(low[i][j], _mm256_slli_epi64(both, 32));
            __m256i* to = (__m256i*)(c + i * stride + 4 * j);
            if (accumulate) sum = _mm256_add_epi64(sum, _mm256_loadu_si256(to));
            _mm256_storeu_si256(to, sum);
        }
}

#else

constexpr int tile_rows = 4, tile_columns = 4, words_a_column = 1;

MPCRT_INLINE void pack_column(uint64_t* panel, int column, uint64_t value) { panel[column] = value; }

static void tile(long depth, const uint64_t* a, const uint64_t* b, uint64_t* c, long stride, bool accumulate) {
    uint64_t sum[tile_rows][tile_columns] = {};
    for (long k = 0; k < depth; ++k, a += tile_rows, b += tile_columns)
        for (int i = 0; i < tile_rows; ++i)
            for (int j = 0; j < tile_columns; ++j) sum[i][j] += a[i] * b[j];
    for (int i = 0; i < tile_rows; ++i)
        for (int j = 0; j < tile_columns; ++j) c[i * stride + j] = sum[i][j] + (accumulate ? c[i * stride + j] : 0);
}

#endif

constexpr int panel_words = tile_columns * words_a_column;

// Rows k .. k + depth - 1 of columns j .. j + columns - 1, in panels; missing columns are zero.
static void pack_right(const Matrix& b, long k, long depth, long j, long columns, uint64_t* packed) {
    for (long panel = 0; panel < columns; panel += tile_columns) {
        const int width = (int)least(tile_columns, columns - panel);
        for (long i = 0; i < depth; ++i, packed += panel_words) {
            const uint64_t* from = b.at(k + i, j + panel);
            if (width == tile_columns && b.column_stride == 1) {
                for (int q = 0; q < tile_columns; ++q) pack_column(packed, q, from[q]);
                continue;
            }
            for (int q = 0; q < tile_columns; ++q) pack_column(packed, q, q < width ? from[q * b.column_stride] : 0);
        }
    }
}

// Elements k .. k + depth - 1 of rows first .. last - 1, in panels; missing rows are zero.
static void pack_left(const Rows& a, long first, long last, long k, long depth, uint64_t* scratch, uint64_t* packed) {
    for (long r = first; r < last; r += tile_rows, packed += depth * tile_rows) {
        const uint64_t* row[tile_rows];
        for (int i = 0; i < tile_rows; ++i)
            row[i] = r + i < last ? a.read(r + i, k, depth, scratch + i * k_block) : nullptr;
        for (int i = 0; i < tile_rows; ++i)
            for (long q = 0; q < depth; ++q) packed[q * tile_rows + i] = row[i] ? row[i][q] : 0;
    }
}

static void multiply_block(const uint64_t* left, const uint64_t* right, long rows, long columns, long depth,
                           uint64_t* c, long stride, bool accumulate) {
    for (long j = 0; j < columns; j += tile_columns)
        for (long i = 0; i < rows; i += tile_rows) {
            const uint64_t* a = left + i * depth;
            const uint64_t* b = right + j * words_a_column * depth;
            uint64_t* to = c + i * stride + j;
            if (i + tile_rows <= rows && j + tile_columns <= columns) {
                tile(depth, a, b, to, stride, accumulate);
                continue;
            }
            alignas(64) uint64_t edge[tile_rows * tile_columns];
            tile(depth, a, b, edge, tile_columns, false);
            for (long r = 0; r < least(tile_rows, rows - i); ++r)
                for (long q = 0; q < least(tile_columns, columns - j); ++q)
                    to[r * stride + q] = edge[r * tile_columns + q] + (accumulate ? to[r * stride + q] : 0);
        }
}

// Few rows: packing would read the right operand as often as multiplying does. Four of its rows at a time, in stretches
// that stay in the first-level cache while all left rows use them.
static void few_rows(const Rows& a, const Matrix& b, const Product& c, uint64_t* scratch) {
    constexpr long stretch = 1024;
    const uint64_t* row[most_few_rows];
    const int rows = (int)(c.last - c.first);
    for (int r = 0; r < rows; ++r) {
        row[r] = a.read(c.first + r, 0, a.depth, scratch + r * a.depth);
        std::memset(c.data + (c.first + r) * c.row_stride, 0, sizeof(uint64_t) * b.columns);
    }
    for (long k = 0; k < a.depth; k += 4) {
        const int depth = (int)least(4, a.depth - k);
        for (long start = 0; start < b.columns; start += stretch) {
            const long width = least(stretch, b.columns - start);
            const uint64_t* const from = b.at(k, start);
            for (int r = 0; r < rows; ++r) {
                uint64_t* const to = c.data + (c.first + r) * c.row_stride + start;
                const uint64_t* const factor = row[r] + k;
                long j = 0;
                if (depth == 4) {
                    const Words f0 = all(factor[0]), f1 = all(factor[1]), f2 = all(factor[2]), f3 = all(factor[3]);
                    const uint64_t *b1 = from + b.row_stride, *b2 = b1 + b.row_stride, *b3 = b2 + b.row_stride;
                    for (; j + lanes <= width; j += lanes) {
                        const Words first = mul(f0, load(from + j)) + mul(f1, load(b1 + j));
                        store(to + j, load(to + j) + first + (mul(f2, load(b2 + j)) + mul(f3, load(b3 + j))));
                    }
                }
                for (; j < width; ++j)
                    for (int q = 0; q < depth; ++q) to[j] += factor[q] * from[q * b.row_stride + j];
            }
        }
    }
}

constexpr long far = 512;  // words ahead

static uint64_t dot(const uint64_t* a, const uint64_t* b, long n) {
    Words sum[4] = {};
    long k = 0;
    for (; k + 4 * lanes <= n; k += 4 * lanes)
        for (int i = 0; i < 4; ++i) {
            __builtin_prefetch(a + k + lanes * i + far);  // rows are one stream from memory
            sum[i] += mul(load(a + k + lanes * i), load(b + k + lanes * i));
        }
    const Words both = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    uint64_t total = 0;
    for (int i = 0; i < lanes; ++i) total += both[i];
    for (; k < n; ++k) total += a[k] * b[k];
    return total;
}

// One or two columns, each contiguous in k once copied: dot products of rows.
static void few_columns(const Rows& a, const Matrix& b, const Product& c, uint64_t* scratch, uint64_t* columns) {
    for (long j = 0; j < b.columns; ++j)
        for (long k = 0; k < a.depth; ++k) columns[j * a.depth + k] = *b.at(k, j);
    for (long r = c.first; r < c.last; ++r) {
        const uint64_t* row = a.read(r, 0, a.depth, scratch);
        for (long j = 0; j < b.columns; ++j) c.data[r * c.row_stride + j] = dot(row, columns + j * a.depth, a.depth);
    }
}

static void gemm(const Rows& a, const Matrix& b, const Product& c) {
    const long rows = c.last - c.first;
    if (b.columns <= 2) {
        const Scratch memory(sizeof(uint64_t) * a.depth * (1 + b.columns));
        return few_columns(a, b, c, memory.as<uint64_t>(), memory.as<uint64_t>() + a.depth);
    }
    if (!a.depth) {
        for (long r = c.first; r < c.last; ++r) std::memset(c.data + r * c.row_stride, 0, sizeof(uint64_t) * b.columns);
        return;
    }
    if (rows <= most_few_rows && b.column_stride == 1) {
        const Scratch memory(sizeof(uint64_t) * a.depth * most_few_rows);
        return few_rows(a, b, c, memory.as<uint64_t>());
    }
    const long deep = least(k_block, a.depth), wide = least(column_block, b.columns + tile_columns);
    const long words = deep * (wide * words_a_column + row_block + tile_rows) + tile_rows * k_block;
    const Scratch memory(sizeof(uint64_t) * words);
    uint64_t* const right = memory.as<uint64_t>();
    uint64_t* const left = right + deep * wide * words_a_column;
    uint64_t* const scratch = left + deep * (row_block + tile_rows);
    for (long j = 0; j < b.columns; j += column_block) {
        const long columns = least(column_block, b.columns - j);
        for (long k = 0; k < a.depth; k += k_block) {
            const long depth = least(k_block, a.depth - k);
            pack_right(b, k, depth, j, columns, right);
            for (long i = c.first; i < c.last; i += row_block) {
                const long last = least(i + row_block, c.last);
                pack_left(a, i, last, k, depth, scratch, left);
                multiply_block(left, right, last - i, columns, depth, c.data + i * c.row_stride + j, c.row_stride, k > 0);
            }
        }
    }
}

void add_gemm(Table& table) { table.gemm = gemm; }

}  // namespace mpcrt::MPCRT_LEVEL
