#include "key.h"

#include <cstring>

namespace mpcrt {

namespace {

uint8_t times(uint8_t a, uint8_t b) {
    unsigned product = 0, shifted = a;
    for (int i = 0; i < 8; ++i) {
        product ^= shifted & -(unsigned)(b >> i & 1);
        shifted = shifted << 1 ^ (0x11bu & -(shifted >> 7 & 1));
    }
    return static_cast<uint8_t>(product);
}

// FIPS 197, section 5.1.1, computed without a table: lookups would leak key bytes through the cache.
uint8_t substitute(uint8_t x) {
    uint8_t inverse = 1, power = x;
    for (int i = 1; i < 8; ++i) {
        power = times(power, power);
        inverse = times(inverse, power);
    }
    unsigned spread = inverse * 0x101u;
    return static_cast<uint8_t>(spread ^ spread >> 4 ^ spread >> 5 ^ spread >> 6 ^ spread >> 7 ^ 0x63);
}

}  // namespace

Key::Key(const uint8_t* secret) {
    std::memcpy(round[0], secret, 16);
    uint8_t constant = 1;
    for (int r = 1; r <= 10; ++r) {
        const uint8_t* last = round[r - 1];
        uint8_t* next = round[r];
        for (int i = 0; i < 4; ++i)
            next[i] = last[i] ^ substitute(last[12 + (i + 1) % 4]) ^ (i == 0 ? constant : 0);
        for (int i = 4; i < 16; ++i) next[i] = last[i] ^ next[i - 4];
        constant = times(constant, 2);
    }
}

Key::~Key() {
    volatile uint8_t* bytes = &round[0][0];
    for (size_t i = 0; i < sizeof(round); ++i) bytes[i] = 0;
}

}  // namespace mpcrt
