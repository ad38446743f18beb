// Block comparison: reading and dealing comparison tables, and the tree's programs on bit planes.
//
// Tables are [group][block][lanes], one 512-bit vector a (group, block): 32 lanes of 16 bits for blocks of 4 bits, 8 of
// 64 bits for blocks of 6. A test against a one-hot lane mask gives the group's packed bits with no transposition.
#include "compare.h"

#include "draw.h"
#include "table.h"

namespace mpcrt::MPCRT_LEVEL {

// The elements that are compared, group by group in order; zeros beyond n.
struct Elements {
    const Source& from;
    size_t n;
    Words now[8];  // the block of the last group that was not whole in memory
};

MPCRT_INLINE const uint64_t* group_of(Elements& v, size_t first, size_t lanes) {
    if (v.from.data && first + lanes <= v.n) return v.from.data + first;
    if (v.from.data || first % block == 0) {
        const size_t e = first / block * block;
        for (auto& w : v.now) w = all(0);
        if (e < v.n) read(v.from, v.n, e, v.now);
        if (e < v.n && v.n - e < block) clear_beyond(v.n, e, v.now);
    }
    return (const uint64_t*)v.now + first % block;
}

// Bit `position` of eight elements.
MPCRT_INLINE uint8_t bits_of(const uint64_t* d, int position) {
    const Words v = load(d);
#if defined(MPCRT_ZMM)
    return _mm512_test_epi64_mask((__m512i)v, _mm512_set1_epi64(1ull << position));
#else
    uint8_t bits = 0;
    for (int i = 0; i < 8; ++i) bits |= (uint8_t)(v[i] >> position & 1) << i;
    return bits;
#endif
}

// The same of a group, as bytes of packed bits; groups beyond n have none.
MPCRT_INLINE void put_sign(uint64_t* sign, const uint64_t* d, size_t first, size_t lanes, const Extent& extent, int position) {
    for (size_t i = 0; i < lanes && first + i < (extent.n + 63) / 64 * 64; i += 8)
        ((uint8_t*)sign)[(first + i) / 8] = bits_of(d + i, position);
}

constexpr size_t most_blocks = 16;

MPCRT_INLINE int last_bits(const Digits& digits) { return digits.width - (digits.blocks() - 1) * digits.block; }

#if defined(MPCRT_ZMM)

typedef __m512i Narrow;  // 32 lanes of 16 bits

// 16-bit word k of the 32 shifted elements.
MPCRT_INLINE Narrow word_of(const uint64_t* d, int shift) {
    __m128i part[4];
    for (int i = 0; i < 4; ++i)
        part[i] = _mm512_cvtepi64_epi16(_mm512_srli_epi64(_mm512_loadu_si512(d + 8 * i), shift));
    const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(part[0]), part[1], 1);
    const __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(part[2]), part[3], 1);
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}
MPCRT_INLINE Narrow one_hot(Narrow word, int shift, int bits) {
    const Narrow digit = _mm512_and_si512(_mm512_srli_epi16(word, shift), _mm512_set1_epi16((1 << bits) - 1));
    return _mm512_sllv_epi16(_mm512_set1_epi16(1), digit);
}
MPCRT_INLINE Narrow load_narrow(const uint16_t* from) { return _mm512_loadu_si512(from); }
MPCRT_INLINE Narrow below(Narrow hot) { return _mm512_sub_epi16(hot, _mm512_set1_epi16(1)); }
MPCRT_INLINE uint32_t test(Narrow table, Narrow hot) { return _mm512_test_epi16_mask(table, hot); }
MPCRT_INLINE Narrow steps(Narrow table, uint16_t lead) {
    return _mm512_ternarylogic_epi64(table, _mm512_slli_epi16(table, 1), _mm512_set1_epi16(lead), 0x96);
}

#elif defined(MPCRT_LEVEL_avx2)

struct Narrow {
    __m256i half[2];
};

MPCRT_INLINE Narrow word_of(const uint64_t* d, int shift) {
    Narrow out;
    const __m256i low16 = _mm256_set1_epi64x(0xffff);
    for (int h = 0; h < 2; ++h) {
        __m256i v[4];
        for (int i = 0; i < 4; ++i)
            v[i] = _mm256_and_si256(
                _mm256_srl_epi64(_mm256_loadu_si256((const __m256i*)(d + 16 * h + 4 * i)), _mm_cvtsi32_si128(shift)), low16);
        // packs work in lanes of 128 bits, which leaves pairs in the order 0 2 4 6 | 1 3 5 7
        const __m256i packed = _mm256_packus_epi32(_mm256_packus_epi32(v[0], v[1]), _mm256_packus_epi32(v[2], v[3]));
        out.half[h] = _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    }
    return out;
}
MPCRT_INLINE Narrow one_hot(Narrow word, int shift, int bits) {
    const __m256i powers = _mm256_setr_epi8(1, 2, 4, 8, 16, 32, 64, -128, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64,
                                            -128, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m256i mask = _mm256_set1_epi16((1 << bits) - 1), low = _mm256_set1_epi16(0xff);
    Narrow out;
    for (int h = 0; h < 2; ++h) {
        const __m256i digit = _mm256_and_si256(_mm256_srl_epi16(word.half[h], _mm_cvtsi32_si128(shift)), mask);
        const __m256i lower = _mm256_and_si256(_mm256_shuffle_epi8(powers, digit), low);
        const __m256i upper = _mm256_shuffle_epi8(powers, _mm256_xor_si256(digit, _mm256_set1_epi16(8)));
        out.half[h] = _mm256_or_si256(lower, _mm256_slli_epi16(upper, 8));
    }
    return out;
}
MPCRT_INLINE Narrow load_narrow(const uint16_t* from) {
    return {{_mm256_loadu_si256((const __m256i*)from), _mm256_loadu_si256((const __m256i*)from + 1)}};
}
MPCRT_INLINE Narrow below(Narrow hot) {
    for (auto& h : hot.half) h = _mm256_sub_epi16(h, _mm256_set1_epi16(1));
    return hot;
}
MPCRT_INLINE uint32_t test(Narrow table, Narrow hot) {
    __m256i missed[2];
    for (int h = 0; h < 2; ++h)
        missed[h] = _mm256_cmpeq_epi16(_mm256_and_si256(table.half[h], hot.half[h]), _mm256_setzero_si256());
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packs_epi16(missed[0], missed[1]), 0xd8);
    return ~(uint32_t)_mm256_movemask_epi8(packed);
}
MPCRT_INLINE Narrow steps(Narrow table, uint16_t lead) {
    for (auto& h : table.half)
        h = _mm256_xor_si256(_mm256_xor_si256(h, _mm256_slli_epi16(h, 1)), _mm256_set1_epi16(lead));
    return table;
}

#else

struct Narrow {
    uint16_t lane[32];
};

MPCRT_INLINE Narrow word_of(const uint64_t* d, int shift) {
    Narrow out;
    for (int i = 0; i < 32; ++i) out.lane[i] = (uint16_t)(d[i] >> shift);
    return out;
}
MPCRT_INLINE Narrow one_hot(Narrow word, int shift, int bits) {
    for (auto& w : word.lane) w = (uint16_t)(1u << (w >> shift & ((1 << bits) - 1)));
    return word;
}
MPCRT_INLINE Narrow load_narrow(const uint16_t* from) {
    Narrow out;
    std::memcpy(&out, from, sizeof out);
    return out;
}
MPCRT_INLINE Narrow below(Narrow hot) {
    for (auto& h : hot.lane) --h;
    return hot;
}
MPCRT_INLINE uint32_t test(Narrow table, Narrow hot) {
    uint32_t bits = 0;
    for (int i = 0; i < 32; ++i) bits |= (uint32_t)((table.lane[i] & hot.lane[i]) != 0) << i;
    return bits;
}
MPCRT_INLINE Narrow steps(Narrow table, uint16_t lead) {
    for (auto& t : table.lane) t = (uint16_t)(t ^ t << 1 ^ lead);
    return table;
}

#endif

// Calls visit(group, block, one-hot vector) for every block of every group of 32 elements, after begin(group, elements).
template <class Begin, class Visit>
MPCRT_INLINE void each_narrow(Elements& values, const Extent& extent, const Digits& digits, Begin begin, Visit visit) {
    const int blocks = digits.blocks(), last = last_bits(digits);
    const size_t groups = extent.superblocks() * 2 * extent.words_per_plane;
    for (size_t g = 0; g < groups; ++g) {
        const uint64_t* d = group_of(values, 32 * g, 32);
        begin(g, d);
        for (int j = 0; j < blocks; j += 4) {
            const Narrow word = word_of(d, digits.drop + 4 * j);
            for (int i = j; i < j + 4 && i < blocks; ++i) visit(g, i, one_hot(word, 4 * (i - j), i + 1 < blocks ? 4 : last));
        }
    }
}

// The same for groups of eight elements and blocks of six bits.
template <class Begin, class Visit>
MPCRT_INLINE void each_wide(Elements& values, const Extent& extent, const Digits& digits, Begin begin, Visit visit) {
    const int blocks = digits.blocks(), last = last_bits(digits);
    const size_t groups = extent.superblocks() * 8 * extent.words_per_plane;
    for (size_t g = 0; g < groups; ++g) {
        const uint64_t* d = group_of(values, 8 * g, 8);
        begin(g, d);
        for (int j = 0; j < blocks; ++j) {
            const uint64_t mask = (1ull << (j + 1 < blocks ? 6 : last)) - 1;
            visit(g, j, all(1) << (load(d) >> (digits.drop + 6 * j) & mask));
        }
    }
}

MPCRT_INLINE uint8_t test_wide(Words table, Words hot) {
#if defined(MPCRT_ZMM)
    return _mm512_test_epi64_mask((__m512i)table, (__m512i)hot);
#else
    uint8_t bits = 0;
    for (int i = 0; i < 8; ++i) bits |= (uint8_t)((table[i] & hot[i]) != 0) << i;
    return bits;
#endif
}

static void look_up(const uint64_t* opened, const Extent& extent, const Digits& digits, const Source& tables,
                    bool equal, bool lead, uint64_t* lt, uint64_t* eq, uint64_t* sign) {
    const int blocks = digits.blocks(), width = extent.words_per_plane;
    const size_t words = 8 * blocks;  // of a group's tables
    uint64_t drawn[8 * most_blocks + slack];
    const uint64_t* group = nullptr;
    const Source d{opened, 0, {}};
    Elements elements{d, extent.n, {}};
    const bool narrow = digits.block == 4;
    auto begin = [&](size_t g, const uint64_t* values) {
        group = read_words(tables, g * words, words, drawn);
        if (sign) put_sign(sign, values, (narrow ? 32 : 8) * g, narrow ? 32 : 8, extent, digits.drop + digits.width);
    };
    if (narrow) {
        uint32_t *const lts = (uint32_t*)lt, *const eqs = (uint32_t*)eq;
        each_narrow(elements, extent, digits, begin, [&](size_t g, int j, Narrow hot) {
            const Narrow table = load_narrow((const uint16_t*)group + j * 32);
            const size_t at = (g / (2 * width) * blocks + j) * 2 * width + g % (2 * width);
            if (!equal) lts[at] = test(table, hot);
            eqs[at] = test(equal ? table : steps(table, lead), hot);
        });
        return;
    }
    uint8_t *const lts = (uint8_t*)lt, *const eqs = (uint8_t*)eq;
    each_wide(elements, extent, digits, begin, [&](size_t g, int j, Words hot) {
        const Words table = load(group + j * 8);
        const size_t at = (g / (8 * width) * blocks + j) * 8 * width + g % (8 * width);
        if (!equal) lts[at] = test_wide(table, hot);
        eqs[at] = test_wide(equal ? table : table ^ (table << 1) ^ all(lead), hot);
    });
}

static void deal_tables(const Source& mask, const Extent& extent, const Digits& digits, bool equal, const Source& less,
                        uint64_t* tables, uint64_t* sign) {
    const int blocks = digits.blocks();
    const size_t words = 8 * blocks;
    uint64_t drawn[8 * most_blocks + slack] = {};
    Elements elements{mask, extent.n, {}};
    const bool narrow = digits.block == 4;
    auto begin = [&](size_t g, const uint64_t* values) {
        if (less.count) read_words(less, g * words, words, drawn);
        if (sign) put_sign(sign, values, (narrow ? 32 : 8) * g, narrow ? 32 : 8, extent, digits.drop + digits.width);
    };
    if (narrow)
        each_narrow(elements, extent, digits, begin, [&](size_t g, int j, Narrow hot) {
            Words table;
            const Narrow clear = equal ? hot : below(hot);
            std::memcpy(&table, &clear, sizeof table);
            store(tables + g * words + 8 * j, table ^ load(drawn + 8 * j));
        });
    else
        each_wide(elements, extent, digits, begin, [&](size_t g, int j, Words hot) {
            store(tables + g * words + 8 * j, (equal ? hot : hot - all(1)) ^ load(drawn + 8 * j));
        });
}

template <class Plane>
static void run_program(const PlaneProgram& program, size_t superblocks) {
    Plane scratch[most_temporaries];
    constexpr size_t size = sizeof(Plane);
    uint8_t* base[most_plane_arrays];
    for (int i = 0; i < most_plane_arrays; ++i) base[i] = (uint8_t*)program.memory[i];
    base[temporaries] = (uint8_t*)scratch;
    for (size_t s = 0; s < superblocks; ++s) {
        for (int i = 0; i < temporaries; ++i) {
            const size_t words = program.planes[i] * (size / 8);
            if (program.arrays[i].count) read_words(program.arrays[i], s * words, words, program.memory[i]);
        }
        for (const PlaneStep* step = program.steps; step != program.steps + program.count; ++step) {
            uint8_t* const d = base[step->d_array] + size * step->d;
            Plane a, b, out;
            std::memcpy(&a, base[step->a_array] + size * step->a, size);
            if (step->op == PlaneStep::copy) {
                std::memcpy(d, &a, size);
                continue;
            }
            std::memcpy(&b, base[step->b_array] + size * step->b, size);
            switch (step->op) {
                case PlaneStep::exclusive_or: out = a ^ b; break;
                case PlaneStep::conjunction: out = a & b; break;
                default: std::memcpy(&out, d, size); out ^= a & b;
            }
            std::memcpy(d, &out, size);
        }
        for (int i = 0; i < temporaries; ++i)
            if (!program.arrays[i].count) base[i] += size * program.planes[i];
    }
}

static void planes(const PlaneProgram& program, size_t superblocks, int words_per_plane) {
    if (words_per_plane == 8)
        run_program<Words>(program, superblocks);
    else
        run_program<uint64_t>(program, superblocks);
}

void add_compare(Table& table) {
    table.look_up = look_up;
    table.deal_tables = deal_tables;
    table.planes = planes;
}

}  // namespace mpcrt::MPCRT_LEVEL
