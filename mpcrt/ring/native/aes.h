// AES-128 on N vectors of four consecutive counter blocks, with the processor's AES instructions. The portable level has
// none: there mpcrt.ring.compiled draws from the reference's generator.
#pragma once
#include "key.h"
#include "simd.h"

namespace mpcrt::MPCRT_LEVEL {

#if defined(MPCRT_ZMM)

template <int N> MPCRT_INLINE void encrypt_counters(const Key& key, Stream stream, uint64_t block, Words* out) {
    const __m512i swap = _mm512_broadcast_i32x4(_mm_set_epi8(8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
    const uint64_t low = stream.low + block;
    const __m512i first = _mm512_set_epi64(low + 3, stream.high, low + 2, stream.high, low + 1, stream.high, low,
                                           stream.high);
    const __m512i step = _mm512_set_epi64(4, 0, 4, 0, 4, 0, 4, 0);
    __m512i state[N], counter = first;
    __m512i round_key = _mm512_broadcast_i32x4(_mm_load_si128((const __m128i*)key.round[0]));
    for (int i = 0; i < N; ++i) {
        state[i] = _mm512_xor_si512(_mm512_shuffle_epi8(counter, swap), round_key);
        counter = _mm512_add_epi64(counter, step);
    }
    for (int r = 1; r < 10; ++r) {
        round_key = _mm512_broadcast_i32x4(_mm_load_si128((const __m128i*)key.round[r]));
        for (int i = 0; i < N; ++i) state[i] = _mm512_aesenc_epi128(state[i], round_key);
    }
    round_key = _mm512_broadcast_i32x4(_mm_load_si128((const __m128i*)key.round[10]));
    for (int i = 0; i < N; ++i) out[i] = (Words)_mm512_aesenclast_epi128(state[i], round_key);
}

#else

template <int N> MPCRT_INLINE void encrypt_counters(const Key& key, Stream stream, uint64_t block, Words* out) {
    const __m128i swap = _mm_set_epi8(8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
    constexpr int group = N < 2 ? 4 : 8;  // as many blocks as hide the latency of aesenc and fit the registers
    for (int g = 0; g < 4 * N; g += group) {
        __m128i state[group];
        __m128i round_key = _mm_load_si128((const __m128i*)key.round[0]);
        for (int i = 0; i < group; ++i) {
            const __m128i counter = _mm_set_epi64x(stream.low + block + g + i, stream.high);
            state[i] = _mm_xor_si128(_mm_shuffle_epi8(counter, swap), round_key);
        }
        for (int r = 1; r < 10; ++r) {
            round_key = _mm_load_si128((const __m128i*)key.round[r]);
            for (int i = 0; i < group; ++i) state[i] = _mm_aesenc_si128(state[i], round_key);
        }
        round_key = _mm_load_si128((const __m128i*)key.round[10]);
        for (int i = 0; i < group; ++i)
            _mm_storeu_si128((__m128i*)out + g + i, _mm_aesenclast_si128(state[i], round_key));
    }
}

#endif

// `count` vectors of four blocks, from block `block` of a stream.
MPCRT_INLINE void vectors(const Key& key, Stream stream, uint64_t block, long count, Words* out) {
    long i = 0;
    for (; i + 8 <= count; i += 8) encrypt_counters<8>(key, stream, block + 4 * i, out + i);
    for (; i < count; ++i) encrypt_counters<1>(key, stream, block + 4 * i, out + i);
}

}  // namespace mpcrt::MPCRT_LEVEL
