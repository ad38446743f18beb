// Sampled functions. The parties' sums are integer-only and have the reference's bits at every level; the dealer's samples
// are double-precision without fused multiply-adds, the same at every level, within rounding of the reference.
#include "samples.h"

#include "draw.h"
#include "table.h"

namespace mpcrt::MPCRT_LEVEL {

typedef double Reals __attribute__((vector_size(64)));

MPCRT_INLINE Signed as_signed(Words v) { return (Signed)v; }
// Arithmetic shift right; products and sums wrap in Words, where overflow is defined.
MPCRT_INLINE Words shifted(Words v, int bits) { return (Words)(as_signed(v) >> bits); }

// Elements e .. e + 63 of a row of samples [rows, n].
MPCRT_INLINE void row_of(const Source& samples, size_t n, size_t row, size_t e, Words* out) {
    if (samples.count) return draw<8>(samples.drawn[0], row * n + e, out);
    load_block(samples.data + row * n, n, e, out);
}

// Stores such a row less what others draw.
MPCRT_INLINE void put_row(uint64_t* samples, const Source& less, size_t n, size_t row, size_t e, Words* values) {
    for (int d = 0; d < less.count; ++d) {
        Words drawn[8];
        draw<8>(less.drawn[d], row * n + e, drawn);
        for (int i = 0; i < 8; ++i) values[i] -= drawn[i];
    }
    store_block(samples + row * n, n, e, values);
}

template <class Vector, class T> MPCRT_INLINE Vector gathered(const T* table, Words at) {
#if defined(MPCRT_ZMM)
    return (Vector)_mm512_i64gather_epi64((__m512i)at, table, 8);
#else
    Vector out;
    for (int i = 0; i < lanes; ++i) out[i] = table[at[i]];
    return out;
#endif
}

// -- public bases

MPCRT_INLINE Words narrowed(Words v, int bits) {
    if (bits == trig_bits) return v;
    return shifted(v + all(1ull << (trig_bits - bits - 1)), trig_bits - bits);
}

struct Angle {
    Words cosine, sine;
};

// (a.cosine + i a.sine)(b.cosine + i b.sine), rounded half up; all within a few units of 2^30, so that they fit 32 bits.
MPCRT_INLINE Angle rotated(Angle a, Angle b) {
    const Words half = all(1ull << (trig_bits - 1));
    return {shifted(mul_narrow(a.cosine, b.cosine) - mul_narrow(a.sine, b.sine) + half, trig_bits),
            shifted(mul_narrow(a.cosine, b.sine) + mul_narrow(a.sine, b.cosine) + half, trig_bits)};
}

// floor(v / 6) for |v| < 2^17: 43691 / 2^18 is 1/6 from above.
MPCRT_INLINE Words sixth(Words v) {
    const Words sign = shifted(v, 63);
    return (mul(v ^ sign, all(43691)) >> 18) ^ sign;
}

MPCRT_INLINE Angle turn(Words phase, const Turns<int64_t>& table) {
    const int bits = 64 - table.bits;
    const Words near = phase + all(1ull << (bits - 1));
    const Words at = near >> bits;
    const Words rest = (near & all((1ull << bits) - 1)) - all(1ull << (bits - 1));
    const Words r = shifted(mul(shifted(rest, 28), all(13176795)), 21);  // 13176795 / 2^21 = 2 pi
    const Words r2 = shifted(mul(r, r), 36);
    const Words sine = shifted(r - sixth(shifted(mul(r2, r), 36)), 6);
    const Words cosine = all(1ull << trig_bits) - shifted(r2, 7);
    return rotated({gathered<Words>(table.cosines, at), gathered<Words>(table.sines, at)}, {cosine, sine});
}

static void series_sum(const uint64_t* d, size_t n, const Source& samples, const SeriesBasis& basis,
                       const Turns<int64_t>& table, uint64_t* out) {
    for (size_t e = 0; e < n; e += block) {
        const int used = vectors_of(n - e);
        Angle here[8], step[8];
        Words row[8], sum[8] = {};
        for (int i = 0; i < used; ++i) {
            const Words phase = mul(load_some(d + e + lanes * i, n - e - lanes * i), all(basis.multiplier));
            here[i] = turn(mul(phase, all(basis.first)), table);
            step[i] = basis.first == basis.step ? here[i] : turn(mul(phase, all(basis.step)), table);
        }
        for (int k = 0; k < basis.harmonics; ++k) {
            row_of(samples, n, 2 * k, e, row);
            for (int i = 0; i < used; ++i) {
                if (k) here[i] = rotated(here[i], step[i]);
                sum[i] += mul(narrowed(here[i].cosine, basis.public_bits), row[i]);
            }
            row_of(samples, n, 2 * k + 1, e, row);
            for (int i = 0; i < used; ++i) sum[i] += mul(narrowed(here[i].sine, basis.public_bits), row[i]);
        }
        for (int i = 0; i < used; ++i) store_some(out + e + lanes * i, sum[i], n - e - lanes * i);
    }
}

// phi(D_low) of samples.exp_basis.
MPCRT_INLINE Words exp_of(Words low, const ExpBasis& basis) {
    const Words u = basis.bits <= 32 ? low << (32 - basis.bits) : low >> (basis.bits - 32);
    const Words d = u & all((1ull << 22) - 1), d2 = mul(d, d);
    const Words d3 = mul(shifted(mul(shifted(d2, 22), d), 20), all(43691));
    const Words fine = all(1ull << 30) + (d << 1) + shifted(d2, 29) + shifted(d3, 33);
    const Words product = mul(gathered<Words>(basis.table, u >> 22), shifted(fine, 1));
    const int shift = basis.table_bits + 29 - basis.public_bits;
    return shifted(product + all(1ull << (shift - 1)), shift);
}

static void exp_sum(const uint64_t* d, size_t n, const Source& samples, const ExpBasis& basis, uint64_t* out) {
    for (size_t e = 0; e < n; e += block) {
        const int used = vectors_of(n - e);
        Words moved[8], row[8], chosen[8] = {};
        for (int i = 0; i < used; ++i)
            moved[i] = load_some(d + e + lanes * i, n - e - lanes * i) - all(basis.origin);
        for (int v = 0; v < 4; ++v) {
            row_of(samples, n, v, e, row);
            for (int i = 0; i < used; ++i) chosen[i] |= row[i] & (Words)((moved[i] >> basis.bits & all(3)) == all(v));
        }
        const Words low = all((1ull << basis.bits) - 1);
        for (int i = 0; i < used; ++i)
            store_some(out + e + lanes * i, mul(chosen[i], exp_of(moved[i] & low, basis)), n - e - lanes * i);
    }
}

static void chebyshev_sum(const uint64_t* d, size_t n, const uint64_t* samples, const ChebyshevBasis& basis, uint64_t* out) {
    const int shift = trig_bits + 1 - basis.window_bits;
    const uint64_t terms = basis.degree + 1;
    for (size_t e = 0; e < n; e += lanes) {
        const size_t count = n - e;
        const Words opened = load_some(d + e, count), low = opened & all((1ull << basis.window_bits) - 1);
        const Words w = (shift >= 0 ? low << shift : low >> -shift) - all(1ull << trig_bits);
        Words at = mul(opened >> basis.window_bits & all((1ull << basis.table_bits) - 1), all(terms * n)) + all(e);
        for (int i = 0; i < lanes; ++i) at[i] += (size_t)i < count ? i : 0;
        Words before = all(1ull << trig_bits), here = w, sum = all(0);
        for (int j = 0; j <= basis.degree; ++j) {
            sum += mul(narrowed(j ? here : before, basis.public_bits), gathered<Words>(samples + j * n, at));
            if (!j) continue;
            const Words next = shifted(mul(w, here) + all(1ull << (trig_bits - 2)), trig_bits - 1) - before;
            before = here;
            here = next;
        }
        store_some(out + e, sum, count);
    }
}

// -- the dealer's samples

MPCRT_INLINE Reals each(double value) { return Reals{value, value, value, value, value, value, value, value}; }
MPCRT_INLINE Reals real_of(Words v) { return __builtin_convertvector(as_signed(v), Reals); }

// The nearest integer: adding 1.5 2^52 rounds what is below 2^51; from 2^52 on doubles are integers.
MPCRT_INLINE Words fixed(Reals v) {
    const Reals magic = each(6755399441055744.0), limit = each(2251799813685248.0);
    const Reals nearest = (v + magic) - magic;
    const Words small = (Words)((v < limit) & (v > -limit));
    const Reals rounded = (Reals)(((Words)nearest & small) | ((Words)v & ~small));
    return (Words)__builtin_convertvector(rounded, Signed);
}

struct Point {
    Reals x, y;
};

MPCRT_INLINE Point times(Point a, Point b) { return {a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x}; }

// e^(2 pi i phase / 2^64): a table, and Taylor's series of a rest below 2 pi / 2^(table bits + 1).
MPCRT_INLINE Point unit(Words phase, const Turns<double>& table) {
    const int bits = 64 - table.bits;
    const Words near = phase + all(1ull << (bits - 1));
    const Words at = near >> bits;
    const Reals r = real_of((near & all((1ull << bits) - 1)) - all(1ull << (bits - 1))) * each(3.4061215800304235e-19);
    const Reals r2 = r * r;
    const Reals sine = r * (each(1.0) - r2 * (each(1.0 / 6) - r2 * each(1.0 / 120)));
    const Reals cosine = each(1.0) - r2 * (each(0.5) - r2 * (each(1.0 / 24) - r2 * each(1.0 / 720)));
    return times({gathered<Reals>(table.cosines, at), gathered<Reals>(table.sines, at)}, {cosine, sine});
}

static void series_deal(const Source& mask, size_t n, const SeriesBasis& basis, bool odd, const double* coefficients,
                        const Turns<double>& table, const Source& less, uint64_t* samples) {
    for (size_t e = 0; e < n; e += block) {
        const int used = vectors_of(n - e);
        Point here[8], step[8];
        Words l[8], cosines[8] = {}, sines[8] = {};
        read(mask, n, e, l);
        for (int i = 0; i < used; ++i) {
            const Words phase = mul(l[i], all(basis.multiplier));
            here[i] = unit(mul(phase, all(basis.first)), table);
            step[i] = unit(mul(phase, all(basis.step)), table);
        }
        for (int k = 0; k < basis.harmonics; ++k) {
            for (int i = 0; i < used; ++i) {
                if (k) here[i] = times(here[i], step[i]);
                const Reals x = here[i].x * each(coefficients[k]), y = here[i].y * each(coefficients[k]);
                cosines[i] = fixed(odd ? -y : x);
                sines[i] = fixed(odd ? x : y);
            }
            put_row(samples, less, n, 2 * k, e, cosines);
            put_row(samples, less, n, 2 * k + 1, e, sines);
        }
    }
}

// S[v] = scale e^-low e^(-8 ((top - v) mod 4)); `table` has scale e^(-i 2^-7), i < 1024.
static void exp_deal(const Source& mask, size_t n, int bits, double unit_size, const double* table, const double* steps,
                     const Source& less, uint64_t* samples) {
    constexpr double taylor[] = {-1.0 / 120, 1.0 / 24, -1.0 / 6, 0.5, -1.0, 1.0};
    const uint64_t rest_mask = bits > 10 ? (1ull << (bits - 10)) - 1 : 0;
    for (size_t e = 0; e < n; e += block) {
        const int used = vectors_of(n - e);
        Words l[8], top[8], row[8] = {};
        Reals below[8];
        read(mask, n, e, l);
        for (int i = 0; i < used; ++i) {
            const Words low = l[i] & all((1ull << bits) - 1);
            const Words at = bits > 10 ? low >> (bits - 10) : low << (10 - bits);
            const Reals r = real_of(low & all(rest_mask)) * each(unit_size);
            Reals series = each(1.0 / 720);
            for (const double c : taylor) series = series * r + each(c);
            top[i] = l[i] >> bits;
            below[i] = gathered<Reals>(table, at) * series;
        }
        for (uint64_t v = 0; v < 4; ++v) {
            for (int i = 0; i < used; ++i) row[i] = fixed(below[i] * gathered<Reals>(steps, (top[i] - all(v)) & all(3)));
            put_row(samples, less, n, v, e, row);
        }
    }
}

void add_samples(Table& table) {
    table.series_sum = series_sum;
    table.exp_sum = exp_sum;
    table.chebyshev_sum = chebyshev_sum;
    table.series_deal = series_deal;
    table.exp_deal = exp_deal;
}

}  // namespace mpcrt::MPCRT_LEVEL
