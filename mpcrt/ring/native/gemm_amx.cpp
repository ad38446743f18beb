// 64-bit matrix product from 8-bit ones, on the tile units of Intel's AMX (Sapphire Rapids and later).
//
// A word is eight base-256 digits; digit i of the left operand times digit j of the right one counts 256^(i + j), so mod
// 2^64 the 36 pairs with i + j < 8 remain. A tile product adds 16 x 64 by 64 x 16 digits into 16 x 16 sums of 32 bits.
// Pairs with the same s = i + j share a sum: at most 4 pairs of depth_block products where all its bits count (s < 4),
// below 2^32; for s >= 4 only the low 32 bits count.
//
// Packed operands: [16 rows or columns][step of 64 in depth][digit 8] tiles of 1 KiB. A left tile is 16 rows of 64
// digits; a right one is 16 rows of (16 columns x 4 depths), as the instruction wants it.
#include "bilinear.h"
#include "cpu.h"
#include "simd.h"
#include "table.h"

namespace mpcrt::amx {

// A block of each operand, 1 and 0.5 MiB packed, fits the second-level cache.
constexpr long depth_block = 512, row_block = 128, column_block = 256;
constexpr long group = 16, step = 64, digits = 8, tile_bytes = 1024, step_bytes = digits * tile_bytes;

static void (*few)(const Rows&, const Matrix&, const Product&) = nullptr;

MPCRT_INLINE long least(long a, long b) { return a < b ? a : b; }
MPCRT_INLINE long up(long n, long unit) { return (n + unit - 1) / unit * unit; }

// Transposes an 8 x 8 matrix of words held in eight vectors.
MPCRT_INLINE void transpose(__m512i* v) {
    __m512i t[8], u[8];
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm512_unpacklo_epi64(v[i], v[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi64(v[i], v[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; ++j) {
            u[i + j] = _mm512_shuffle_i64x2(t[i + j], t[i + 2 + j], 0x88);
            u[i + 2 + j] = _mm512_shuffle_i64x2(t[i + j], t[i + 2 + j], 0xdd);
        }
    for (int j = 0; j < 4; ++j) {
        v[j] = _mm512_shuffle_i64x2(u[j], u[4 + j], 0x88);
        v[4 + j] = _mm512_shuffle_i64x2(u[j], u[4 + j], 0xdd);
    }
}

// 64 words to eight rows of 64 digits, a tile apart.
MPCRT_INLINE void split(__m512i* v, uint8_t* to) {
    alignas(64) uint8_t order[64];
    for (int i = 0; i < 64; ++i) order[i] = (uint8_t)(i % 8 * 8 + i / 8);
    const __m512i by_digit = _mm512_load_si512(order);
    for (int i = 0; i < 8; ++i) v[i] = _mm512_permutexvar_epi8(by_digit, v[i]);
    transpose(v);
    for (int d = 0; d < digits; ++d) _mm512_store_si512(to + d * tile_bytes, v[d]);
}

static void pack_left(const Rows& a, long first, long last, long k, long depth, uint64_t* scratch, uint8_t* packed) {
    const long steps = up(depth, step) / step;
    for (long r = first; r < first + up(last - first, group); ++r) {
        uint8_t* to = packed + (r - first) / group * steps * step_bytes + (r - first) % group * step;
        const uint64_t* row = r < last ? a.read(r, k, depth, scratch) : nullptr;
        for (long s = 0; s < steps; ++s, to += step_bytes) {
            const long present = row ? least(step, depth - s * step) : 0;
            __m512i v[8];
            for (int i = 0; i < 8; ++i) {
                const long left = present - 8 * i;
                const __mmask8 mask = left >= 8 ? 0xff : left > 0 ? (__mmask8)((1 << left) - 1) : 0;
                v[i] = _mm512_maskz_loadu_epi64(mask, row ? row + s * step + 8 * i : nullptr);
            }
            split(v, to);
        }
    }
}

// Four depths of 16 columns, columns slowest: two vectors a depth in, eight vectors out.
MPCRT_INLINE void interleave(const __m512i (*in)[2], __m512i* out) {
    const __m512i low = _mm512_set_epi64(11, 3, 10, 2, 9, 1, 8, 0), high = _mm512_set_epi64(15, 7, 14, 6, 13, 5, 12, 4);
    const __m512i first = _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0), last = _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4);
    for (int half = 0; half < 2; ++half)
        for (int q = 0; q < 2; ++q) {
            const __m512i pick = q ? high : low;
            const __m512i a = _mm512_permutex2var_epi64(in[0][half], pick, in[1][half]);
            const __m512i b = _mm512_permutex2var_epi64(in[2][half], pick, in[3][half]);
            out[4 * half + 2 * q] = _mm512_permutex2var_epi64(a, first, b);
            out[4 * half + 2 * q + 1] = _mm512_permutex2var_epi64(a, last, b);
        }
}

static void pack_right(const Matrix& b, long k, long depth, long j, long columns, uint8_t* packed) {
    for (long c = 0; c < columns; c += group) {
        const long width = least(group, columns - c);
        const __mmask8 mask[2] = {(__mmask8)(width >= 8 ? 0xff : (1 << width) - 1),
                                  (__mmask8)(width <= 8 ? 0 : (1 << (width - 8)) - 1)};
        for (long s = 0; s < depth; s += step, packed += step_bytes)
            for (long q = 0; q < step; q += 4) {
                __m512i in[4][2] = {}, out[8];
                for (long d = 0; d < 4 && s + q + d < depth; ++d) {
                    const uint64_t* from = b.at(k + s + q + d, j + c);
                    alignas(64) uint64_t gathered[group];
                    if (b.column_stride != 1) {
                        for (long i = 0; i < width; ++i) gathered[i] = from[i * b.column_stride];
                        from = gathered;
                    }
                    in[d][0] = _mm512_maskz_loadu_epi64(mask[0], from);
                    in[d][1] = _mm512_maskz_loadu_epi64(mask[1], from + 8);
                }
                interleave(in, out);
                split(out, packed + q / 4 * step);
            }
    }
}

// The sums of one s over a whole depth block, for 16 r rows and 16 c columns, to sums[r][c][16][16].
template <int r, int c>
static void digit_sums(const uint8_t* left, const uint8_t* right, long steps, int s, uint32_t* sums) {
    _tile_zero(0);
    if (c > 1) _tile_zero(1);
    if (r > 1) _tile_zero(2);
    if (r > 1 && c > 1) _tile_zero(3);
    const long next = steps * step_bytes;
    for (long q = 0; q < steps; ++q)
        for (int i = 0; i <= s; ++i) {
            const uint8_t* a = left + q * step_bytes + i * tile_bytes;
            const uint8_t* b = right + q * step_bytes + (s - i) * tile_bytes;
            _tile_loadd(4, a, step);
            _tile_loadd(6, b, step);
            _tile_dpbuud(0, 4, 6);
            if (c > 1) {
                _tile_loadd(7, b + next, step);
                _tile_dpbuud(1, 4, 7);
            }
            if (r > 1) {
                _tile_loadd(5, a + next, step);
                _tile_dpbuud(2, 5, 6);
                if (c > 1) _tile_dpbuud(3, 5, 7);
            }
        }
    _tile_stored(0, sums, step);
    if (c > 1) _tile_stored(1, sums + 256, step);
    if (r > 1) _tile_stored(2, sums + 512, step);
    if (r > 1 && c > 1) _tile_stored(3, sums + 768, step);
}

MPCRT_INLINE __m512i widened(const uint32_t* from) {
    return _mm512_cvtepu32_epi64(_mm256_load_si256((const __m256i*)from));
}

// Adds the eight sums of one 16 x 16 block, weighted, to the result.
static void combine(const uint32_t* sums, uint64_t* c, long stride, long rows, long columns, bool accumulate) {
    constexpr long apart = 1024;  // from one s to the next
    for (long i = 0; i < rows; ++i)
        for (long j = 0; j < columns; j += 8) {
            const uint32_t* from = sums + i * group + j;
            __m512i low = widened(from), high = widened(from + 4 * apart);
            for (int s = 1; s < 4; ++s) {
                low = _mm512_add_epi64(low, _mm512_slli_epi64(widened(from + s * apart), 8 * s));
                high = _mm512_add_epi64(high, _mm512_slli_epi64(widened(from + (4 + s) * apart), 8 * s));
            }
            __m512i sum = _mm512_add_epi64(low, _mm512_slli_epi64(high, 32));
            uint64_t* to = c + i * stride + j;
            const __mmask8 mask = columns - j >= 8 ? 0xff : (__mmask8)((1 << (columns - j)) - 1);
            if (accumulate) sum = _mm512_add_epi64(sum, _mm512_maskz_loadu_epi64(mask, to));
            _mm512_mask_storeu_epi64(to, mask, sum);
        }
}

template <int r, int c>
static void block(const uint8_t* left, const uint8_t* right, long steps, uint32_t* sums, uint64_t* out, long stride,
                  long rows, long columns, bool accumulate) {
    for (int s = 0; s < digits; ++s) digit_sums<r, c>(left, right, steps, s, sums + 1024 * s);
    __asm__ volatile("" ::: "memory");
    for (int i = 0; i < r; ++i)
        for (int j = 0; j < c; ++j)
            combine(sums + 512 * i + 256 * j, out + i * group * stride + j * group, stride,
                    least(group, rows - i * group), least(group, columns - j * group), accumulate);
}

static void multiply_block(const uint8_t* left, const uint8_t* right, long rows, long columns, long depth,
                           uint32_t* sums, uint64_t* c, long stride, bool accumulate) {
    const long steps = up(depth, step) / step;
    __asm__ volatile("" ::: "memory");  // the tile loads below do not declare what they read
    for (long i = 0; i < rows; i += 2 * group)
        for (long j = 0; j < columns; j += 2 * group) {
            const uint8_t* a = left + i / group * steps * step_bytes;
            const uint8_t* b = right + j / group * steps * step_bytes;
            uint64_t* to = c + i * stride + j;
            const bool two_rows = rows - i > group, two_columns = columns - j > group;
            auto* kernel = two_rows ? (two_columns ? block<2, 2> : block<2, 1>)
                                    : (two_columns ? block<1, 2> : block<1, 1>);
            kernel(a, b, steps, sums, to, stride, rows - i, columns - j, accumulate);
        }
}

struct alignas(64) TileConfiguration {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

static void gemm(const Rows& a, const Matrix& b, const Product& c) {
    const long rows = c.last - c.first;
    // Padding to whole tiles must not cost more than the tiles gain over vpmullq.
    const double padded = (double)up(rows, group) * up(b.columns, group) * up(a.depth, step);
    if (!a.depth || padded > 2.5 * rows * b.columns * a.depth) return few(a, b, c);

    const long deep = up(least(depth_block, a.depth), step);
    const long tall = up(least(row_block, rows), 2 * group), wide = up(least(column_block, b.columns), 2 * group);
    const Scratch memory(8 * deep * (tall + wide) + 8 * 4096 + 8 * depth_block);
    uint8_t* const left = memory.as<uint8_t>();
    uint8_t* const right = left + 8 * deep * tall;
    uint32_t* const sums = (uint32_t*)(right + 8 * deep * wide);
    uint64_t* const scratch = (uint64_t*)(sums + 8192);
    const TileConfiguration configuration;
    _tile_loadconfig(&configuration);
    for (long k = 0; k < a.depth; k += depth_block) {
        const long depth = least(depth_block, a.depth - k);
        for (long j = 0; j < b.columns; j += column_block) {
            const long columns = least(column_block, b.columns - j);
            pack_right(b, k, depth, j, columns, right);
            for (long i = c.first; i < c.last; i += row_block) {
                const long last = least(i + row_block, c.last);
                pack_left(a, i, last, k, depth, scratch, left);
                multiply_block(left, right, last - i, columns, depth, sums, c.data + i * c.row_stride + j,
                               c.row_stride, k > 0);
            }
        }
    }
    _tile_release();
}

void add_gemm(Table& table) {
    few = table.gemm;
    table.gemm = gemm;
}

}  // namespace mpcrt::amx
