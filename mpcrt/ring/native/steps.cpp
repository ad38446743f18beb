// Elementwise protocol steps, each one pass over a chunk; masks and shares that need not be in memory are drawn on the way.
#include "steps.h"

#include "draw.h"
#include "table.h"

namespace mpcrt::MPCRT_LEVEL {

// lead dx dy - dx ly - lx dy + mask
static void cross(size_t n, const uint64_t* dx, const uint64_t* dy, const Source& lx, const Source& ly, const Source& mask,
                  bool lead, uint64_t* out) {
    for (size_t e = 0; e < n; e += block) {
        Words x[8], y[8], other[8], sum[8];
        load_block(dx, n, e, x);
        load_block(dy, n, e, y);
        read(ly, n, e, other);
        read(mask, n, e, sum);
        for (int i = 0; i < 8; ++i) sum[i] += mul(x[i], (lead ? y[i] : all(0)) - other[i]);
        if (lx.given()) {
            read(lx, n, e, other);
            for (int i = 0; i < 8; ++i) sum[i] -= mul(other[i], y[i]);
        }
        store_block(out, n, e, sum);
    }
}

// mask - lx ly
static void absorb(size_t n, const Source& lx, const Source& ly, const Source& mask, uint64_t* out) {
    for (size_t e = 0; e < n; e += block) {
        Words x[8], y[8], sum[8];
        read(lx, n, e, x);
        read(ly, n, e, y);
        read(mask, n, e, sum);
        for (int i = 0; i < 8; ++i) sum[i] -= mul(x[i], y[i]);
        store_block(out, n, e, sum);
    }
}

constexpr uint64_t offset = 1ull << 62;

// All bits set where 1 - msb(D + 2^62) is 1.
MPCRT_INLINE Words present(Words moved) { return (Words)((Signed)~moved >> 63); }

MPCRT_INLINE void read_either(const Source& from, bool narrow, size_t n, size_t e, Words* out) {
    narrow ? read_narrow(from, n, e, out) : read(from, n, e, out);
}

// lead ((D + c >> k) - (c >> k)) + (1 - msb(D + c)) 2^(64 - k) m - R, c = 2^62, 0 < k < 64
static void settle(size_t n, const uint64_t* opened, int bits, const Source& sign, bool narrow, const Source& top, bool lead,
                   uint64_t* out) {
    for (size_t e = 0; e < n; e += block) {
        Words d[8], m[8], r[8];
        load_block(opened, n, e, d);
        read_either(sign, narrow, n, e, m);
        read(top, n, e, r);
        for (int i = 0; i < 8; ++i) {
            const Words moved = d[i] + all(offset);
            m[i] = (m[i] << (64 - bits) & present(moved)) - r[i];
            if (lead) m[i] += (moved >> bits) - all(offset >> bits);
        }
        store_block(out, n, e, m);
    }
}

// Eight elements' bits as lanes of all ones or zeros.
MPCRT_INLINE Words spread(uint64_t bits) { return (Words)((all(bits) & Words{1, 2, 4, 8, 16, 32, 64, 128}) != all(0)); }

// A (c ? lead - beta : beta) + sum of coefficient (c ? share - crossed : crossed)
static void select(size_t n, const Select& s, uint64_t* out) {
    const Words leading = all(s.lead);
    for (size_t e = 0; e < n; e += block) {
        const uint64_t bits = s.bits[e / block];
        Words d[8], sum[8], c[8], share[8], crossed[8];
        load_block(s.opened, n, e, d);
        read(s.beta, n, e, sum);
        for (int i = 0; i < 8; ++i) {
            c[i] = spread(bits >> 8 * i);
            const Words value = s.drop ? (d[i] + all(offset) >> s.drop) - all(offset >> s.drop) : d[i];
            sum[i] = mul((sum[i] ^ c[i]) - c[i] + (leading & c[i]), value);
        }
        for (int t = 0; t < s.terms; ++t) {
            read_either(s.share[t], t && s.narrow, n, e, share);
            read_either(s.crossed[t], t && s.narrow, n, e, crossed);
            for (int i = 0; i < 8; ++i) {
                const Words chosen = (crossed[i] ^ c[i]) - c[i] + (share[i] & c[i]);
                sum[i] += t ? chosen << (64 - s.drop) & present(d[i] + all(offset)) : -chosen;
            }
        }
        store_block(out, n, e, sum);
    }
}

// Of a factor: A, what part of m counts (all bits or none), and my share of the value less A.
MPCRT_INLINE void read_factor(const Factor& f, size_t n, size_t e, Words* a, Words* counts, Words* share) {
    Words sign[8];
    load_block(f.opened, n, e, a);
    read(f.share, n, e, share);
    for (int i = 0; i < 8; ++i) share[i] = -share[i];
    if (!f.drop) return;
    read_either(f.sign, f.narrow, n, e, sign);
    for (int i = 0; i < 8; ++i) {
        const Words moved = a[i] + all(offset);
        counts[i] = present(moved);
        share[i] += sign[i] << (64 - f.drop) & counts[i];
        a[i] = (moved >> f.drop) - all(offset >> f.drop);
    }
}

// (lead A_x + x') A_y + y' A_x + sum of c_i c_j products, c_0 = -1, c_1 = q 2^(64 - k)
static void multiply(size_t n, const Multiply& m, uint64_t* out) {
    for (size_t e = 0; e < n; e += block) {
        Words ax[8], ay[8], in_x[8] = {}, in_y[8] = {}, x[8], y[8], share[8];
        read_factor(m.x, n, e, ax, in_x, x);
        read_factor(m.y, n, e, ay, in_y, y);
        for (int i = 0; i < 8; ++i) x[i] = mul(m.lead ? x[i] + ax[i] : x[i], ay[i]) + mul(y[i], ax[i]);
        for (int p = 0; p < m.products; ++p) {
            const FactorProduct& product = m.product[p];
            read_either(product.share, product.narrow, n, e, share);
            for (int i = 0; i < 8; ++i) {
                if (product.i) share[i] = share[i] << (64 - m.x.drop) & in_x[i];
                if (product.j) share[i] = share[i] << (64 - m.y.drop) & in_y[i];
                x[i] += product.i && product.j ? share[i] : -share[i];
            }
        }
        store_block(out, n, e, x);
    }
}

MPCRT_INLINE void deal_row(const Row& row, size_t n, size_t e, const Words* values, uint64_t* out) {
    if (!row.narrow) {
        Words rest[8] = {};
        if (row.less.count) draw_all<8, false>(row.less, e, rest);
        for (int i = 0; i < 8; ++i) rest[i] = (values[i] >> row.shift) - rest[i];
        return store_block(out, n, e, rest);
    }
    Halves rest[4];
    for (int i = 0; i < 8; ++i) {
        const EightHalves half = __builtin_convertvector(values[i] >> row.shift, EightHalves);
        std::memcpy((uint32_t*)rest + lanes * i, &half, sizeof half);
    }
    for (int d = 0; d < row.less.count; ++d) {
        Words drawn[4];
        draw<4>(row.less.drawn[d], e / 2, drawn);
        for (int i = 0; i < 4; ++i) rest[i] -= (Halves)drawn[i];
    }
    const size_t words = (n - e + 1) / 2;
    std::memcpy(out + e / 2, rest, sizeof(uint64_t) * (words < block / 2 ? words : block / 2));
}

// The rows one after the other; without a mask it is 1, with bits it counts where they are set.
static void deal(size_t n, const Source& mask, const uint64_t* bits, const Dealt& rows, uint64_t* out) {
    for (size_t e = 0; e < n; e += block) {
        Words values[8];
        if (mask.given())
            read(mask, n, e, values);
        else
            for (auto& v : values) v = all(1);
        if (bits)
            for (int i = 0; i < 8; ++i) values[i] &= spread(bits[e / block] >> 8 * i);
        if (n - e < block) clear_beyond(n, e, values);
        uint64_t* to = out;
        for (int r = 0; r < rows.count; to += rows.words(r++, n)) deal_row(rows.row[r], n, e, values, to);
    }
}

void add_steps(Table& table) {
    table.cross = cross;
    table.absorb = absorb;
    table.settle = settle;
    table.select = select;
    table.multiply = multiply;
    table.deal = deal;
}

}  // namespace mpcrt::MPCRT_LEVEL
