// Elementwise protocol steps, each one pass over a chunk.
#include "steps.h"

#include "simd.h"
#include "table.h"

namespace mpcrt::MPCRT_LEVEL {

typedef uint32_t Halves __attribute__((vector_size(32)));

// Words e .. e + count - 1, at most eight; the other lanes are zero.
MPCRT_INLINE Words fetch(const uint64_t* from, size_t e, size_t count) {
    if (count >= lanes) return load(from + e);
    uint64_t padded[lanes] = {};
    for (size_t i = 0; i < count; ++i) padded[i] = from[e + i];
    return load(padded);
}

MPCRT_INLINE Words fetch(Vector v, size_t e, size_t count) {
    if (!v.narrow) return fetch((const uint64_t*)v.data, e, count);
    uint32_t padded[lanes] = {};
    const uint32_t* from = (const uint32_t*)v.data + e;
    if (count < lanes) {
        for (size_t i = 0; i < count; ++i) padded[i] = from[i];
        from = padded;
    }
    Halves halves;
    std::memcpy(&halves, from, sizeof halves);
    return __builtin_convertvector(halves, Words);
}

MPCRT_INLINE void put(uint64_t* to, size_t e, Words v, size_t count) {
    if (count >= lanes) return store(to + e, v);
    for (size_t i = 0; i < count; ++i) to[e + i] = v[i];
}

// lead dx dy - dx ly - lx dy
static void cross(size_t n, const uint64_t* dx, const uint64_t* dy, const uint64_t* lx, const uint64_t* ly, bool lead,
                  uint64_t* out) {
    for (size_t e = 0; e < n; e += lanes) {
        const size_t count = n - e;
        const Words x = fetch(dx, e, count), y = fetch(dy, e, count);
        Words other = lead ? y : all(0);
        if (ly) other -= fetch(ly, e, count);
        Words sum = mul(x, other);
        if (lx) sum -= mul(fetch(lx, e, count), y);
        put(out, e, sum, count);
    }
}

// lead ((D + c >> k) - (c >> k)) + (1 - msb(D + c)) 2^(64 - k) m, c = 2^62, 0 < k < 64
static void settle(size_t n, const uint64_t* opened, int bits, Vector sign, bool lead, uint64_t* out) {
    constexpr uint64_t offset = 1ull << 62;
    for (size_t e = 0; e < n; e += lanes) {
        const size_t count = n - e;
        const Words moved = fetch(opened, e, count) + all(offset);
        const Words present = (Words)((Signed)~moved >> 63);
        Words sum = fetch(sign, e, count) << (64 - bits) & present;
        if (lead) sum += (moved >> bits) - all(offset >> bits);
        put(out, e, sum, count);
    }
}

// A (c ? lead - beta : beta) + sum of coefficient (c ? share - crossed : crossed)
static void select(size_t n, const Select& s, uint64_t* out) {
    const Words place = {1, 2, 4, 8, 16, 32, 64, 128}, leading = all(s.lead);
    for (size_t e = 0; e < n; e += lanes) {
        const size_t count = n - e;
        const Words c = (Words)((all(s.bits[e / 64] >> e % 64) & place) != all(0));
        const Words beta = fetch(s.beta, e, count);
        Words sum = (beta ^ c) - c + (leading & c);
        if (s.factor) sum = mul(sum, fetch(s.factor, e, count));
        for (int i = 0; i < s.terms; ++i) {
            const SelectTerm& term = s.term[i];
            const Words chosen = (fetch(term.crossed, e, count) ^ c) - c + (fetch(term.share, e, count) & c);
            if (term.coefficient.data)
                sum += mul(chosen, fetch(term.coefficient, e, count));
            else
                sum -= chosen;
        }
        put(out, e, sum, count);
    }
}

void add_steps(Table& table) {
    table.cross = cross;
    table.settle = settle;
    table.select = select;
}

}  // namespace mpcrt::MPCRT_LEVEL
