// Vectors of eight 64-bit words, in the compiler's own vector type: one source for every level.
//
// Everything here lives in the level's namespace and is forced inline, so that no code compiled for one instruction set
// is ever linked into another level.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(MPCRT_LEVEL_avx2) || defined(MPCRT_LEVEL_avx512) || defined(MPCRT_LEVEL_amx)
#include <immintrin.h>
#endif
#if defined(MPCRT_LEVEL_avx512) || defined(MPCRT_LEVEL_amx)
#define MPCRT_ZMM 1
#endif

#define MPCRT_INLINE static inline __attribute__((always_inline))

namespace mpcrt::MPCRT_LEVEL {

typedef uint64_t Words __attribute__((vector_size(64)));
typedef int64_t Signed __attribute__((vector_size(64)));
constexpr int lanes = 8;

MPCRT_INLINE Words load(const void* from) {
    Words v;
    std::memcpy(&v, from, sizeof v);
    return v;
}

MPCRT_INLINE void store(void* to, Words v) { std::memcpy(to, &v, sizeof v); }

MPCRT_INLINE Words all(uint64_t value) { return Words{value, value, value, value, value, value, value, value}; }

// The product of words. vpmullq waits for its destination's old value on Golden Cove (Sapphire Rapids), a false dependency
// of 15 cycles; clearing the register first costs nothing and triples the speed there.
MPCRT_INLINE Words mul(Words a, Words b) {
#if defined(MPCRT_ZMM)
    __m512i result;
    __asm__("vpxor %x0, %x0, %x0\n\tvpmullq %2, %1, %0" : "=&x"(result) : "v"(a), "v"(b));
    return (Words)result;
#else
    return a * b;
#endif
}

// The product of words whose values, as signed numbers, fit 32 bits: one instruction instead of three.
MPCRT_INLINE Words mul_narrow(Words a, Words b) {
#if defined(MPCRT_ZMM)
    return (Words)_mm512_mul_epi32((__m512i)a, (__m512i)b);
#elif defined(MPCRT_LEVEL_avx2)
    __m256i x[2], y[2];
    std::memcpy(x, &a, sizeof a);
    std::memcpy(y, &b, sizeof b);
    for (int i = 0; i < 2; ++i) x[i] = _mm256_mul_epi32(x[i], y[i]);
    Words out;
    std::memcpy(&out, x, sizeof out);
    return out;
#else
    return a * b;
#endif
}

}  // namespace mpcrt::MPCRT_LEVEL
