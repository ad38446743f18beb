// Packing of bits, 64 a word.
#include "simd.h"
#include "table.h"

namespace mpcrt::MPCRT_LEVEL {

// Eight bytes of 0 or 1 to the bits of one byte: the multiplication moves byte i's bit to bit 56 + i.
MPCRT_INLINE uint64_t gather8(uint64_t bytes) { return (bytes & 0x0101010101010101ull) * 0x0102040810204080ull >> 56; }

// The eight bits of a byte to eight bytes of 0 or 1.
MPCRT_INLINE uint64_t spread8(uint64_t byte) {
    const uint64_t copies = byte * 0x0101010101010101ull & 0x8040201008040201ull;
    return (copies + 0x00406070787c7e7full) >> 7 & 0x0101010101010101ull;
}

static void pack(const uint8_t* bits, size_t n, uint64_t* words) {
    for (size_t w = 0; w < n / 64; ++w) {
        uint64_t word = 0;
#if defined(MPCRT_ZMM)
        const __m512i bytes = _mm512_loadu_si512(bits + 64 * w);
        word = _mm512_test_epi8_mask(bytes, _mm512_set1_epi8(1));
#else
        for (int i = 0; i < 8; ++i) {
            uint64_t bytes;
            std::memcpy(&bytes, bits + 64 * w + 8 * i, 8);
            word |= gather8(bytes) << 8 * i;
        }
#endif
        words[w] = word;
    }
    if (n % 64) {
        uint64_t word = 0;
        for (size_t i = n / 64 * 64; i < n; ++i) word |= (uint64_t)(bits[i] & 1) << i % 64;
        words[n / 64] = word;
    }
}

static void unpack(const uint64_t* words, size_t n, uint8_t* bits) {
    for (size_t w = 0; w < n / 64; ++w) {
#if defined(MPCRT_ZMM)
        _mm512_storeu_si512(bits + 64 * w, _mm512_maskz_set1_epi8(words[w], 1));
#else
        for (int i = 0; i < 8; ++i) {
            const uint64_t bytes = spread8(words[w] >> 8 * i & 0xff);
            std::memcpy(bits + 64 * w + 8 * i, &bytes, 8);
        }
#endif
    }
    for (size_t i = n / 64 * 64; i < n; ++i) bits[i] = words[i / 64] >> i % 64 & 1;
}

void add_bits(Table& table) {
    table.pack = pack;
    table.unpack = unpack;
}

}  // namespace mpcrt::MPCRT_LEVEL
