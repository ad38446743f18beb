// AES-128 without AES instructions and without tables (constant time): 32 blocks at once, bit-sliced.
//
// Plane i holds bit i of every state byte: sixteen 32-bit lanes, one a byte position (FIPS 197's order, column by
// column), and in each lane one bit a block. ShiftRows and the row rotations of MixColumns are lane permutations.
#pragma once
#include "key.h"
#include "simd.h"

namespace mpcrt::MPCRT_LEVEL {

typedef uint32_t Plane __attribute__((vector_size(64)));

static inline uint64_t transpose8x8(uint64_t x) {
    uint64_t t = (x ^ x >> 7) & 0x00aa00aa00aa00aaull;
    x ^= t ^ t << 7;
    t = (x ^ x >> 14) & 0x0000cccc0000ccccull;
    x ^= t ^ t << 14;
    t = (x ^ x >> 28) & 0x00000000f0f0f0f0ull;
    return x ^ t ^ t << 28;
}

static inline void to_planes(const uint8_t* blocks, Plane* plane) {
    uint32_t lanes32[8][16] = {};
    for (int p = 0; p < 16; ++p)
        for (int g = 0; g < 4; ++g) {
            uint64_t bytes = 0;
            for (int b = 0; b < 8; ++b) bytes |= (uint64_t)blocks[16 * (8 * g + b) + p] << 8 * b;
            bytes = transpose8x8(bytes);
            for (int i = 0; i < 8; ++i) lanes32[i][p] |= (uint32_t)(bytes >> 8 * i & 0xff) << 8 * g;
        }
    std::memcpy(plane, lanes32, sizeof lanes32);
}

static inline void from_planes(const Plane* plane, uint8_t* blocks) {
    uint32_t lanes32[8][16];
    std::memcpy(lanes32, plane, sizeof lanes32);
    for (int p = 0; p < 16; ++p)
        for (int g = 0; g < 4; ++g) {
            uint64_t bytes = 0;
            for (int i = 0; i < 8; ++i) bytes |= (uint64_t)(lanes32[i][p] >> 8 * g & 0xff) << 8 * i;
            bytes = transpose8x8(bytes);
            for (int b = 0; b < 8; ++b) blocks[16 * (8 * g + b) + p] = (uint8_t)(bytes >> 8 * b);
        }
}

// Reduction of a product of 15 coefficients by x^8 + x^4 + x^3 + x + 1.
MPCRT_INLINE void reduce(Plane* c) {
    for (int i = 14; i >= 8; --i) {
        c[i - 4] ^= c[i];
        c[i - 5] ^= c[i];
        c[i - 7] ^= c[i];
        c[i - 8] ^= c[i];
    }
}

static inline void multiply(const Plane* a, const Plane* b, Plane* out) {
    Plane c[15] = {};
    for (int i = 0; i < 8; ++i)
        for (int j = 0; j < 8; ++j) c[i + j] ^= a[i] & b[j];
    reduce(c);
    for (int i = 0; i < 8; ++i) out[i] = c[i];
}

static inline void square(const Plane* a, Plane* out) {
    Plane c[15] = {};
    for (int i = 0; i < 8; ++i) c[2 * i] = a[i];
    reduce(c);
    for (int i = 0; i < 8; ++i) out[i] = c[i];
}

// SubBytes: x^254 by the chain 2, 3, 12, 15, 240, 252, 254, then the affine map.
static inline void substitute_planes(Plane* x) {
    Plane x2[8], x3[8], x12[8], x15[8], t[8];
    square(x, x2);
    multiply(x2, x, x3);
    square(x3, t);
    square(t, x12);
    multiply(x12, x3, x15);
    square(x15, t);
    square(t, t);
    square(t, t);
    square(t, t);
    multiply(t, x12, t);
    multiply(t, x2, t);
    for (int i = 0; i < 8; ++i) {
        x[i] = t[i] ^ t[(i + 4) % 8] ^ t[(i + 5) % 8] ^ t[(i + 6) % 8] ^ t[(i + 7) % 8];
        if (0x63 >> i & 1) x[i] = ~x[i];
    }
}

MPCRT_INLINE Plane shift_rows(Plane v) {
#if defined(__clang__)
    return __builtin_shufflevector(v, v, 0, 5, 10, 15, 4, 9, 14, 3, 8, 13, 2, 7, 12, 1, 6, 11);
#else
    return __builtin_shuffle(v, Plane{0, 5, 10, 15, 4, 9, 14, 3, 8, 13, 2, 7, 12, 1, 6, 11});
#endif
}

MPCRT_INLINE Plane next_row(Plane v) {
#if defined(__clang__)
    return __builtin_shufflevector(v, v, 1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12);
#else
    return __builtin_shuffle(v, Plane{1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12});
#endif
}

// MixColumns: row r becomes 2 r0 + 3 r1 + r2 + r3 = 2 (r0 + r1) + r1 + (r2 + r3).
static inline void mix_columns(Plane* x) {
    Plane sum[8], mixed[8];
    for (int i = 0; i < 8; ++i) sum[i] = x[i] ^ next_row(x[i]);
    for (int i = 0; i < 8; ++i) {
        mixed[i] = next_row(x[i]) ^ next_row(next_row(sum[i]));
        if (i) mixed[i] ^= sum[i - 1];
        if (0x1b >> i & 1) mixed[i] ^= sum[7];
    }
    for (int i = 0; i < 8; ++i) x[i] = mixed[i];
}

MPCRT_INLINE void add_key(Plane* x, const uint8_t* round_key) {
    for (int i = 0; i < 8; ++i) {
        uint32_t mask[16];
        for (int p = 0; p < 16; ++p) mask[p] = -(uint32_t)(round_key[p] >> i & 1);
        Plane key_plane;
        std::memcpy(&key_plane, mask, sizeof mask);
        x[i] ^= key_plane;
    }
}

// `count` (at most 8) vectors of four consecutive counter blocks.
static __attribute__((noinline)) void sliced_counters(const Key& key, Stream stream, uint64_t block, int count, Words* out) {
    uint8_t blocks[512];
    for (int b = 0; b < 32; ++b)
        for (int i = 0; i < 8; ++i) {
            blocks[16 * b + i] = (uint8_t)(stream.high >> (56 - 8 * i));
            blocks[16 * b + 8 + i] = (uint8_t)((stream.low + block + b) >> (56 - 8 * i));
        }
    Plane x[8];
    to_planes(blocks, x);
    add_key(x, key.round[0]);
    for (int r = 1; r <= 10; ++r) {
        substitute_planes(x);
        for (int i = 0; i < 8; ++i) x[i] = shift_rows(x[i]);
        if (r < 10) mix_columns(x);
        add_key(x, key.round[r]);
    }
    from_planes(x, blocks);
    std::memcpy(out, blocks, 64 * (size_t)count);
}

}  // namespace mpcrt::MPCRT_LEVEL
