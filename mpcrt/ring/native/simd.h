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

}  // namespace mpcrt::MPCRT_LEVEL
