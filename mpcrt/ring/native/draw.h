// Reading operands in blocks of 64 words, from memory or drawn as the kernel goes. The portable level has no AES: the
// bindings let no drawn operand through there.
#pragma once
#include "simd.h"
#include "source.h"
#if !defined(MPCRT_LEVEL_portable)
#include "aes.h"
#endif

namespace mpcrt::MPCRT_LEVEL {

typedef uint32_t Halves __attribute__((vector_size(64)));
typedef uint32_t EightHalves __attribute__((vector_size(32)));

constexpr size_t block = 64;  // words at a time: eight vectors, as many as hide the latency of AES

MPCRT_INLINE int vectors_of(size_t count) { return count >= block ? 8 : (int)((count + lanes - 1) / lanes); }

// Lanes 0 .. count - 1; the others zero.
MPCRT_INLINE Words load_some(const uint64_t* from, size_t count) {
    if (count >= lanes) return load(from);
    uint64_t padded[lanes] = {};
    for (size_t i = 0; i < count; ++i) padded[i] = from[i];
    return load(padded);
}

MPCRT_INLINE void store_some(uint64_t* to, Words v, size_t count) {
    if (count >= lanes) return store(to, v);
    for (size_t i = 0; i < count; ++i) to[i] = v[i];
}

// The block's elements e .. e + 63 of n; zeros beyond n.
MPCRT_INLINE void load_block(const uint64_t* from, size_t n, size_t e, Words* out) {
    for (int i = 0; i < 8; ++i) out[i] = e + lanes * i < n ? load_some(from + e + lanes * i, n - e - lanes * i) : all(0);
}

MPCRT_INLINE void store_block(uint64_t* to, size_t n, size_t e, const Words* values) {
    for (int i = 0; i < vectors_of(n - e); ++i) store_some(to + e + lanes * i, values[i], n - e - lanes * i);
}

MPCRT_INLINE void clear_beyond(size_t n, size_t e, Words* values) {
    for (size_t i = n - e; i < block; ++i) values[i / lanes][i % lanes] = 0;
}

// Words at .. at + 8 N - 1 of a stream.
template <int N> MPCRT_INLINE void draw(const Drawn& from, uint64_t at, Words* out) {
#if defined(MPCRT_LEVEL_portable)
    (void)from, (void)at;
    for (int i = 0; i < N; ++i) out[i] = all(0);
#else
    const uint64_t first = from.offset + at;
    if (first % 2 == 0) return encrypt_counters<N>(*from.key, from.stream, first / 2, out);
    Words whole[N + 1];
    vectors(*from.key, from.stream, first / 2, N + 1, whole);
    std::memcpy(out, (const uint64_t*)whole + 1, N * sizeof(Words));
#endif
}

// The sum, or the exclusive or, of all of an operand's streams.
template <int N, bool exclusive> MPCRT_INLINE void draw_all(const Source& from, uint64_t at, Words* out) {
    draw<N>(from.drawn[0], at, out);
    for (int d = 1; d < from.count; ++d) {
        Words more[N];
        draw<N>(from.drawn[d], at, more);
        for (int i = 0; i < N; ++i) out[i] = exclusive ? out[i] ^ more[i] : out[i] + more[i];
    }
}

// Elements e .. e + 63 of an operand of n words; beyond n zeros or, where drawn, more of the stream.
MPCRT_INLINE void read(const Source& from, size_t n, size_t e, Words* out) {
    if (from.count) return draw_all<8, false>(from, e, out);
    if (from.data) return load_block(from.data, n, e, out);
    for (int i = 0; i < 8; ++i) out[i] = all(0);
}

// The same of n values of 32 bits, two a word; at most one stream.
MPCRT_INLINE void read_narrow(const Source& from, size_t n, size_t e, Words* out) {
    uint32_t values[block] = {};
    if (from.count) {
        Words drawn[4];
        draw<4>(from.drawn[0], e / 2, drawn);
        std::memcpy(values, drawn, sizeof values);
    } else if (from.data) {
        std::memcpy(values, (const uint32_t*)from.data + e, sizeof(uint32_t) * (n - e < block ? n - e : block));
    }
    for (int i = 0; i < 8; ++i) {
        EightHalves halves;
        std::memcpy(&halves, values + lanes * i, sizeof halves);
        out[i] = __builtin_convertvector(halves, Words);
    }
}

constexpr size_t slack = 64;  // words that `read_words` may write beyond what was asked for

// `count` words from word `at` of an operand of bits: in memory, or drawn into `buffer`.
MPCRT_INLINE const uint64_t* read_words(const Source& from, uint64_t at, size_t count, uint64_t* buffer) {
    if (!from.count) return from.data + at;
    for (size_t w = 0; w < count; w += block) {
        Words drawn[8];
        if (count - w <= block / 2)
            draw_all<4, true>(from, at + w, drawn);
        else
            draw_all<8, true>(from, at + w, drawn);
        std::memcpy(buffer + w, drawn, count - w <= block / 2 ? sizeof drawn / 2 : sizeof drawn);
    }
    return buffer;
}

}  // namespace mpcrt::MPCRT_LEVEL
