// AES-128 round keys and stream positions, common to all levels.
#pragma once
#include <cstddef>
#include <cstdint>

namespace mpcrt {

struct Key {
    alignas(64) uint8_t round[11][16];
    explicit Key(const uint8_t* secret);
    ~Key();  // wipes the round keys
};

// A stream's 88-bit number s as the counter block's two halves: block b is AES(high : low + b), big-endian,
// where high = s >> 24 and low = s << 40.
struct Stream {
    uint64_t high, low;
};

// subtract_halves takes a word as two numbers modulo 2^32.
enum class Combine : int { set, add, subtract, exclusive_or, subtract_halves };

}  // namespace mpcrt
