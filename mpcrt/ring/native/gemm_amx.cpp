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

#include <utility>

namespace mpcrt::amx {

// A block of the right operand, 0.75 MiB packed, stays in the second-level cache, of which a neighbour may hold the other
// half; panels of 16 rows pass by it. With more than `least_kept` columns rows are packed once for all column blocks,
// `tall_block` of them at a time: reading what is packed costs a third of packing it again, but more than packing it under
// the tiles' work. Few rows stay in that cache all, beside two narrow blocks of the right operand, half as deep.
constexpr long depth_block = 512, column_block = 192, tall_block = 1024;
constexpr long least_kept = 3 * column_block, few_rows = 128, shallow_block = 256, narrow_block = 96;
constexpr long group = 16, step = 64, digits = 8, tile_bytes = 1024, step_bytes = digits * tile_bytes;
constexpr long sum_words = group * group, sum_bytes = digits * sum_words * 4;

static void (*few)(const Rows&, const Matrix&, const Product&) = nullptr;

MPCRT_INLINE long least(long a, long b) { return a < b ? a : b; }
MPCRT_INLINE long up(long n, long unit) { return (n + unit - 1) / unit * unit; }

// Panels are a few lines more than a power of two apart, so that they do not share sets of the caches.
MPCRT_INLINE long panel_bytes(long steps) { return steps * step_bytes + 192; }

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

// 64 words to eight rows of 64 digits, a tile apart; `order` brings the digits of a vector's eight words together.
MPCRT_INLINE void split(__m512i* v, __m512i order, uint8_t* to) {
    for (int i = 0; i < 8; ++i) v[i] = _mm512_permutexvar_epi8(order, v[i]);
    transpose(v);
    for (int d = 0; d < digits; ++d) _mm512_store_si512(to + d * tile_bytes, v[d]);
}

// Digit by digit, the words in order.
MPCRT_INLINE __m512i digit_order() {
    alignas(64) uint8_t order[64];
    for (int i = 0; i < 64; ++i) order[i] = (uint8_t)(i % 8 * 8 + i / 8);
    return _mm512_load_si512(order);
}

// One panel of the left operand on its way: rows first .. last - 1, at most 16, 64 words at a time; others are zero.
struct LeftPacking {
    const Rows* a = nullptr;
    long first = 0, last = 0, k = 0, depth = 0;
    uint64_t* scratch = nullptr;
    uint8_t* packed = nullptr;
    long r = 0, s = 0;  // where it stands
    const uint64_t* row = nullptr;
    bool more() const { return r < group && depth; }
};

static void pack_some(LeftPacking& p, long units) {
    const __m512i order = digit_order();
    for (; units > 0 && p.more(); --units) {
        if (!p.s) p.row = p.first + p.r < p.last ? p.a->read(p.first + p.r, p.k, p.depth, p.scratch) : nullptr;
        __m512i v[8];
        for (int i = 0; i < 8; ++i) {
            const long left = p.row ? p.depth - p.s - 8 * i : 0;
            const __mmask8 mask = left >= 8 ? 0xff : left > 0 ? (__mmask8)((1 << left) - 1) : 0;
            v[i] = _mm512_maskz_loadu_epi64(mask, p.row ? p.row + p.s + 8 * i : nullptr);
        }
        split(v, order, p.packed + p.s / step * step_bytes + p.r * step);
        p.s += step;
        if (p.s >= p.depth) p.s = 0, ++p.r;
    }
}

// One depth block of some columns of the right operand on its way into panels: 64 words at a time, row after row as they
// lie in memory, so that other work can go on in between. A panel holds its columns in the order 0 1 8 9 2 3 10 11 4 5 12
// 13 6 7 14 15, which takes fewest instructions; `combine_row` undoes it.
struct Packing {
    const Matrix* b = nullptr;
    long k = 0, depth = 0, first = 0, columns = 0;
    uint8_t* packed = nullptr;
    long q = 0, c = 0;  // where it stands
    bool more() const { return q < up(depth, step); }
};

// Four depths of 16 columns, four vectors of digits in: each column's 4 digits of one weight become adjacent.
MPCRT_INLINE void interleave(const __m512i (*in)[2], __m512i* out) {
    __m512i low[4], high[4];
    for (int half = 0; half < 2; ++half) {
        const __m512i a = _mm512_unpacklo_epi8(in[0][half], in[1][half]);
        const __m512i b = _mm512_unpacklo_epi8(in[2][half], in[3][half]);
        const __m512i c = _mm512_unpackhi_epi8(in[0][half], in[1][half]);
        const __m512i d = _mm512_unpackhi_epi8(in[2][half], in[3][half]);
        low[2 * half] = _mm512_unpacklo_epi16(a, b), high[2 * half] = _mm512_unpackhi_epi16(a, b);
        low[2 * half + 1] = _mm512_unpacklo_epi16(c, d), high[2 * half + 1] = _mm512_unpackhi_epi16(c, d);
    }
    for (const __m512i* v : {low, high}) {
        const __m512i a = _mm512_unpacklo_epi32(v[0], v[1]), b = _mm512_unpacklo_epi32(v[2], v[3]);
        const __m512i c = _mm512_unpackhi_epi32(v[0], v[1]), d = _mm512_unpackhi_epi32(v[2], v[3]);
        *out++ = _mm512_unpacklo_epi64(a, b), *out++ = _mm512_unpackhi_epi64(a, b);
        *out++ = _mm512_unpacklo_epi64(c, d), *out++ = _mm512_unpackhi_epi64(c, d);
    }
}

// Four depths of 16 columns that lie in memory depth by depth.
MPCRT_INLINE void pack_across(const Packing& p, const uint64_t* from, __mmask16 mask, uint8_t* to) {
    __m512i in[4][2] = {}, out[8];
    for (long d = 0; d < 4 && p.q + d < p.depth; ++d, from += p.b->row_stride) {
        _mm_prefetch((const char*)(from + 8 * p.b->row_stride), _MM_HINT_T0);
        _mm_prefetch((const char*)(from + 8 * p.b->row_stride + 8), _MM_HINT_T0);
        in[d][0] = _mm512_maskz_loadu_epi64((__mmask8)mask, from);
        in[d][1] = _mm512_maskz_loadu_epi64((__mmask8)(mask >> 8), from + 8);
    }
    interleave(in, out);
    for (int d = 0; d < digits; ++d) _mm512_store_si512(to + d * tile_bytes, out[d]);
}

// The same of columns with strides of their own, contiguous along the depth or not.
MPCRT_INLINE void pack_along(const Packing& p, const uint64_t* from, long width, uint8_t* to) {
    alignas(64) uint64_t words[group][4] = {};
    const long depth = least(4, p.depth - p.q);
    for (long place = 0; place < group; ++place) {
        const long column = (place >> 2) * 2 + (place & 1) + (place & 2) * 4;
        if (column >= width) continue;
        const uint64_t* at = from + column * p.b->column_stride;
        for (long d = 0; d < depth; ++d) words[place][d] = at[d * p.b->row_stride];
    }
    alignas(64) uint8_t order[64];
    for (int i = 0; i < 64; ++i) order[i] = (uint8_t)(i % 8 / 4 * 32 + i % 4 * 8 + i / 8);
    __m512i v[8];
    for (int i = 0; i < 8; ++i) v[i] = _mm512_load_si512(words[2 * i]);
    split(v, _mm512_load_si512(order), to);
}

static void pack_some(Packing& p, long units) {
    const long panel = panel_bytes(up(p.depth, step) / step);
    for (; units > 0 && p.more(); --units) {
        const uint64_t* from = p.b->at(p.k + p.q, p.first + p.c);
        const long width = least(group, p.columns - p.c);
        uint8_t* const to = p.packed + p.c / group * panel + p.q / step * step_bytes + p.q % step / 4 * step;
        if (p.b->column_stride == 1)
            pack_across(p, from, (__mmask16)((1u << width) - 1), to);
        else
            pack_along(p, from, width, to);
        p.c += group;
        if (p.c >= p.columns) p.c = 0, p.q += 4;
    }
}

// The digit sums of a finished 16 x 16 block, [s][16][16], which go into the result a row at a time while the tile unit
// is busy with the next block.
struct Finished {
    const uint32_t* sums = nullptr;
    uint64_t* to = nullptr;
    long stride = 0;
    int row = 0, rows = 0;
    __mmask16 columns = 0;
    bool accumulate = false;
};

MPCRT_INLINE void combine_row(Finished& f) {
    if (f.row == f.rows) return;
    const uint32_t* const from = f.sums + f.row * group;
    uint64_t* const to = f.to + f.row * f.stride;
    ++f.row;
    __builtin_prefetch(to + group, 1);  // where the next block goes
    __builtin_prefetch(to + group + 8, 1);
    const auto sum_of = [&](int s) { return _mm512_load_si512(from + sum_words * s); };
    const __m512i odd = _mm512_add_epi32(_mm512_slli_epi32(sum_of(5), 8), _mm512_slli_epi32(sum_of(7), 24));
    const __m512i high = _mm512_add_epi32(_mm512_add_epi32(sum_of(4), _mm512_slli_epi32(sum_of(6), 16)), odd);
    __m512i sums[2];
    for (int half = 0; half < 2; ++half) {
        const auto wide = [&](int s) {
            return _mm512_cvtepu32_epi64(_mm256_load_si256((const __m256i*)(from + sum_words * s + 8 * half)));
        };
        const __m512i rest = _mm512_add_epi64(_mm512_slli_epi64(wide(1), 8), _mm512_slli_epi64(wide(3), 24));
        const __m512i low = _mm512_add_epi64(_mm512_add_epi64(wide(0), _mm512_slli_epi64(wide(2), 16)), rest);
        const __m256i top = half ? _mm512_extracti64x4_epi64(high, 1) : _mm512_castsi512_si256(high);
        sums[half] = _mm512_add_epi64(low, _mm512_slli_epi64(_mm512_cvtepu32_epi64(top), 32));
    }
    const __m512i first = _mm512_set_epi64(13, 12, 9, 8, 5, 4, 1, 0);
    const __m512i last = _mm512_set_epi64(15, 14, 11, 10, 7, 6, 3, 2);
    for (int half = 0; half < 2; ++half) {
        __m512i sum = _mm512_permutex2var_epi64(sums[0], half ? last : first, sums[1]);
        const __mmask8 mask = (__mmask8)(f.columns >> 8 * half);
        if (f.accumulate) sum = _mm512_add_epi64(sum, _mm512_maskz_loadu_epi64(mask, to + 8 * half));
        _mm512_mask_storeu_epi64(to + 8 * half, mask, sum);
    }
}

MPCRT_INLINE void finish(Finished& before) {
    while (before.row < before.rows) combine_row(before);
}

// Digit i of the left operand to tile 4, digit j of the right one to tile t (5, 6 or 7), their product added to sum u.
#define LEFT(i) _tile_loadd(4, a + (i) * tile_bytes, step)
#define RIGHT(t, j) _tile_loadd(t, b + (j) * tile_bytes, step)
#define ADD(u, t) _tile_dpbuud(u, 4, t)

// What goes on while tiles multiply, some at a time: the next rows are packed or, packed already, brought near; or the
// next columns are packed, where all rows are.
struct Ahead {
    enum { pack_rows, fetch_rows, pack_columns } what = pack_rows;
    LeftPacking left{};
    const uint8_t* packed = nullptr;  // the next rows
    Packing right{};
    long units = 0;  // to pack at a time, or lines to fetch
};

MPCRT_INLINE void go_on(Ahead& next) {
    if (next.what == Ahead::pack_rows) return pack_some(next.left, next.units);
    if (next.what == Ahead::pack_columns) return pack_some(next.right, next.units);
    for (long i = 0; i < next.units; ++i, next.packed += 64) _mm_prefetch((const char*)next.packed, _MM_HINT_T1);
}

// The eight digit sums of 16 rows and 16 columns over a depth block. Four sums are held at once; a window of right digits
// slides against the left ones, so that 36 products need 24 tile loads. Between them goes other work: the rows of the
// block before, and three times a step some of what is to come.
MPCRT_INLINE void block(const uint8_t* left, const uint8_t* right, long steps, uint32_t* sums, Finished& before, Ahead& next) {
    const uint8_t *a = left, *b = right;
    _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);
    for (long q = 0; q < steps; ++q, a += step_bytes, b += step_bytes) {
        LEFT(0); RIGHT(5, 3); ADD(3, 5); RIGHT(6, 2); ADD(2, 6); RIGHT(7, 1); ADD(1, 7); RIGHT(5, 0); ADD(0, 5);
        combine_row(before);
        LEFT(1); ADD(3, 6); ADD(2, 7); ADD(1, 5);
        LEFT(2); ADD(3, 7); ADD(2, 5);
        LEFT(3); ADD(3, 5);
        combine_row(before);
        go_on(next);
    }
    _tile_stored(0, sums, step);
    _tile_stored(1, sums + sum_words, step);
    _tile_stored(2, sums + 2 * sum_words, step);
    _tile_stored(3, sums + 3 * sum_words, step);
    a = left, b = right;
    _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);
    for (long q = 0; q < steps; ++q, a += step_bytes, b += step_bytes) {
        LEFT(0); RIGHT(5, 7); ADD(3, 5); RIGHT(6, 6); ADD(2, 6); RIGHT(7, 5); ADD(1, 7); RIGHT(5, 4); ADD(0, 5);
        LEFT(1); ADD(3, 6); ADD(2, 7); ADD(1, 5); RIGHT(6, 3); ADD(0, 6);
        combine_row(before);
        LEFT(2); ADD(3, 7); ADD(2, 5); ADD(1, 6); RIGHT(7, 2); ADD(0, 7);
        go_on(next);
        LEFT(3); ADD(3, 5); ADD(2, 6); ADD(1, 7); RIGHT(5, 1); ADD(0, 5);
        combine_row(before);
        LEFT(4); ADD(3, 6); ADD(2, 7); ADD(1, 5); RIGHT(6, 0); ADD(0, 6);
        go_on(next);
        LEFT(5); ADD(3, 7); ADD(2, 5); ADD(1, 6);
        LEFT(6); ADD(3, 5); ADD(2, 6);
        LEFT(7); ADD(3, 6);
    }
    _tile_stored(0, sums + 4 * sum_words, step);
    _tile_stored(1, sums + 5 * sum_words, step);
    _tile_stored(2, sums + 6 * sum_words, step);
    _tile_stored(3, sums + 7 * sum_words, step);
    finish(before);
}

#undef LEFT
#undef RIGHT
#undef ADD

struct alignas(64) TileConfiguration {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// What is under way: the sums of the last block, combined while tiles multiply the next one, and what is prepared.
struct Work {
    const Product& c;
    uint32_t *sums, *other;
    Finished before{};
    Ahead next{};
};

// Rows i .. i + 15 times the packed columns from j on; adds to what is there, or replaces it.
MPCRT_INLINE void multiply(Work& work, long i, const uint8_t* left, long j, const Packing& columns, bool add) {
    const long steps = up(columns.depth, step) / step;
    const Product& c = work.c;
    __asm__ volatile("" ::: "memory");  // the tile loads do not declare what they read
    for (long q = 0; q < columns.columns; q += group) {
        block(left, columns.packed + q / group * panel_bytes(steps), steps, work.sums, work.before, work.next);
        work.before = {work.sums, c.data + i * c.row_stride + j + q, c.row_stride, 0, (int)least(group, c.last - i),
                       (__mmask16)((1u << least(group, columns.columns - q)) - 1), add};
        std::swap(work.sums, work.other);
    }
}

// Memory for both sums, for words that are gathered before they are packed, and for panels of both operands.
struct Panels {
    long deep, bytes;  // of a panel
    Scratch memory;
    Panels(long deep, long left, long right)
        : deep(deep), bytes(panel_bytes(deep / step)), memory((left + right) * bytes + 2 * sum_bytes + 8 * deep) {}
    uint32_t* sums() const { return memory.as<uint32_t>(); }
    uint64_t* words() const { return (uint64_t*)(sums() + 2 * digits * sum_words); }
    uint8_t* panels() const { return (uint8_t*)(words() + deep); }
};

// The least even share of n that is at most `most`, in whole groups.
MPCRT_INLINE long share(long n, long most) {
    const long parts = up(n, most) / most;
    return up(up(n, parts) / parts, group);
}

// Few rows: all are packed at once, and the next columns while tiles multiply.
static void few_rows_gemm(const Rows& a, const Matrix& b, const Product& c) {
    const long deep = up(least(shallow_block, a.depth), step), wide = share(b.columns, narrow_block);
    const long panels = up(c.last - c.first, group) / group;
    const Panels memory(deep, panels, 2 * wide / group);
    uint8_t* const left = memory.panels();
    uint8_t* const right = left + panels * memory.bytes;
    long turn = 0;
    const auto packing = [&](long k, long j) {
        if (j >= b.columns) k += deep, j = 0;
        uint8_t* const to = right + turn++ % 2 * (wide / group) * memory.bytes;
        return Packing{&b, k, k < a.depth ? least(deep, a.depth - k) : 0, j, least(wide, b.columns - j), to};
    };
    Work work{c, memory.sums(), memory.sums() + digits * sum_words};
    work.next.what = Ahead::pack_columns;
    work.next.units = up(group, 3 * panels) / (3 * panels);
    Packing columns = packing(0, 0);
    for (long k = 0; k < a.depth; k += deep) {
        const long depth = least(deep, a.depth - k), steps = up(depth, step) / step;
        const auto panel = [&](long i) { return left + (i - c.first) / group * panel_bytes(steps); };
        for (long i = c.first; i < c.last; i += group) {
            LeftPacking rows{&a, i, c.last, k, depth, memory.words(), panel(i)};
            pack_some(rows, group * steps);
        }
        for (long j = 0; j < b.columns; j += wide) {
            pack_some(columns, depth * columns.columns);
            work.next.right = packing(k, j + wide);
            for (long i = c.first; i < c.last; i += group) multiply(work, i, panel(i), j, columns, k > 0);
            finish(work.before);
            columns = work.next.right;
        }
    }
}

// Many rows: a block of columns is packed at a time; rows while tiles multiply, once where many column blocks use them.
static void many_rows_gemm(const Rows& a, const Matrix& b, const Product& c) {
    const long deep = up(least(depth_block, a.depth), step), wide = share(b.columns, column_block);
    const bool kept = b.columns > least_kept;
    const long tall = kept ? share(c.last - c.first, tall_block) : c.last - c.first, panels = kept ? tall / group : 2;
    const Panels memory(deep, panels, wide / group);
    Work work{c, memory.sums(), memory.sums() + digits * sum_words};
    Ahead& next = work.next;
    for (long top = c.first; top < c.last; top += tall) {
        const long bottom = least(top + tall, c.last);
        for (long k = 0; k < a.depth; k += deep) {
            const long depth = least(deep, a.depth - k), steps = up(depth, step) / step;
            const auto panel = [&](long i) {
                return memory.panels() + (i - top) / group % panels * panel_bytes(steps);
            };
            const auto rows_from = [&](long i) {
                return LeftPacking{&a, i, bottom, k, i < bottom ? depth : 0, memory.words(), panel(i)};
            };
            for (long j = 0; j < b.columns; j += wide) {
                Packing columns{&b, k, depth, j, least(wide, b.columns - j), memory.panels() + panels * memory.bytes};
                pack_some(columns, depth * columns.columns);
                const bool packed = kept && j;
                const long slots = 3 * up(columns.columns, group) / group;  // in the time of a panel's step
                next.what = packed ? Ahead::fetch_rows : Ahead::pack_rows;
                next.units = up(packed ? step_bytes / 64 : group, slots) / slots;
                next.left = rows_from(top);
                for (long i = top; i < bottom; i += group) {
                    if (!packed) {
                        pack_some(next.left, group * steps);
                        next.left = rows_from(i + group);
                    }
                    next.packed = panel(i + group);
                    multiply(work, i, panel(i), j, columns, k > 0);
                }
                finish(work.before);
            }
        }
    }
}

static void gemm(const Rows& a, const Matrix& b, const Product& c) {
    const long rows = c.last - c.first;
    // In cycles: packing takes about one a word; tiles do 24 multiply-adds a cycle, padding included, vectors about 4.
    const double padded = (double)up(rows, group) * up(b.columns, group) * up(a.depth, step);
    const double tiles = padded / 24 + (double)(rows + b.columns) * a.depth;
    if (!a.depth || tiles > (double)rows * b.columns * a.depth / 4) return few(a, b, c);
    static const TileConfiguration configuration;
    _tile_loadconfig(&configuration);
    (rows <= few_rows ? few_rows_gemm : many_rows_gemm)(a, b, c);
    _tile_release();
}

void add_gemm(Table& table) {
    few = table.gemm;
    table.gemm = gemm;
}

}  // namespace mpcrt::amx
