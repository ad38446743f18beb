// Elementwise protocol steps on flat arrays of one length. Formulas: mpcrt/ring/reference_steps.py.
#include "bind.h"
#include "steps.h"

namespace mpcrt {

namespace {

void cross(Flat dx, Flat dy, nb::handle lx, nb::handle ly, nb::handle mask, bool lead, FlatOut out) {
    const size_t n = out.size();
    require(dx.size() == n && dy.size() == n, "arrays differ in length");
    const Operand mx(lx, n), my(ly, n), fresh(mask, n);
    const uint64_t *const x = dx.data(), *const y = dy.data();
    uint64_t* const to = out.data();
    nb::gil_scoped_release release;
    kernels().cross(n, x, y, mx, my, fresh, lead, to);
}

void absorb(nb::handle lx, nb::handle ly, nb::handle mask, FlatOut out) {
    const size_t n = out.size();
    const Operand mx(lx, n), my(ly, n), fresh(mask, n);
    uint64_t* const to = out.data();
    nb::gil_scoped_release release;
    kernels().absorb(n, mx, my, fresh, to);
}

void settle(Flat opened, int bits, nb::handle sign, bool narrow, nb::handle top, bool lead, FlatOut out) {
    const size_t n = out.size();
    require(opened.size() == n && bits > 0 && bits < 64, "bad settlement");
    const Operand m(sign, n, narrow), r(top, n);
    const uint64_t* const d = opened.data();
    uint64_t* const to = out.data();
    nb::gil_scoped_release release;
    kernels().settle(n, d, bits, m, narrow, r, lead, to);
}

// terms: (share, share of the product with beta)
void select(Flat bits, nb::handle beta, bool lead, Flat opened, int drop, const nb::sequence& terms, FlatOut out) {
    const size_t n = out.size();
    require(bits.size() >= (n + 63) / 64 && opened.size() == n && drop >= 0 && drop < 64, "bad selection");
    require(nb::len(terms) <= (drop ? 2 : 1), "too many terms");
    const Operand b(beta, n);
    Select s{bits.data(), b, lead, opened.data(), drop, drop <= 32, 0, {}, {}};
    std::vector<Operand> operands;
    operands.reserve(2 * nb::len(terms));
    for (nb::handle each : terms) {
        const auto term = nb::cast<nb::tuple>(each);
        require(term.size() == 2, "a term is two shares");
        s.share[s.terms] = operands.emplace_back(term[0], n, s.terms && s.narrow);
        s.crossed[s.terms] = operands.emplace_back(term[1], n, s.terms && s.narrow);
        ++s.terms;
    }
    uint64_t* const to = out.data();
    nb::gil_scoped_release release;
    kernels().select(n, s, to);
}

// A factor as (D, drop, share of l or R, share of m): held until the kernel has run.
struct HeldFactor {
    Flat opened;
    int drop;
    Operand share, sign;

    HeldFactor(const nb::tuple& given, size_t n)
        : opened(nb::cast<Flat>(given[0])), drop(nb::cast<int>(given[1])), share(given[2], n),
          sign(given[3], n, drop <= 32) {
        require(opened.size() == n && drop >= 0 && drop < 64, "bad factor");
    }
    Factor factor() const { return {opened.data(), drop, drop <= 32, share, sign}; }
};

// products: (i, j, narrow, share of the product of x's vector i and y's vector j)
void multiply(const nb::tuple& x, const nb::tuple& y, const nb::sequence& products, bool lead, FlatOut out) {
    const size_t n = out.size();
    require(x.size() == 4 && y.size() == 4 && nb::len(products) <= most_products, "bad factors");
    const HeldFactor a(x, n), b(y, n);
    Multiply m{a.factor(), b.factor(), lead, 0, {}};
    std::vector<Operand> operands;
    operands.reserve(nb::len(products));
    for (nb::handle each : products) {
        const auto product = nb::cast<nb::tuple>(each);
        require(product.size() == 4, "bad product");
        const bool i = nb::cast<int>(product[0]), j = nb::cast<int>(product[1]), narrow = nb::cast<bool>(product[2]);
        require((i || j) && (!i || a.drop) && (!j || b.drop), "no such product");
        m.product[m.products++] = {i, j, narrow, operands.emplace_back(product[3], n, narrow)};
    }
    uint64_t* const to = out.data();
    nb::gil_scoped_release release;
    kernels().multiply(n, m, to);
}

// (shift, narrow, what others draw)
void deal(size_t n, nb::handle mask, const std::optional<Flat>& bits, const nb::sequence& rows, FlatOut out) {
    require(!bits || bits->size() >= (n + 63) / 64, "bad vectors to deal");
    const Operand l(mask, n);
    Dealt dealt{};
    size_t words = 0;
    for (nb::handle each : rows) {
        const auto row = nb::cast<nb::tuple>(each);
        require(row.size() == 3 && dealt.count < most_rows, "bad vectors to deal");
        const int shift = nb::cast<int>(row[0]);
        const bool narrow = nb::cast<bool>(row[1]);
        const Operand less(row[2], narrow ? (n + 1) / 2 : n);
        dealt.row[dealt.count] = {shift, narrow, less};
        require(shift >= 0 && shift < 64 && !dealt.row[dealt.count].less.data, "bad vectors to deal");
        words += dealt.words(dealt.count++, n);
    }
    require(out.size() == words, "the vectors do not fit");
    const uint64_t* const selected = bits ? bits->data() : nullptr;
    uint64_t* const to = out.data();
    nb::gil_scoped_release release;
    kernels().deal(n, l, selected, dealt, to);
}

}  // namespace

void bind_steps(nb::module_& m) {
    using namespace nb::literals;
    m.def("cross", cross, "dx"_a.noconvert(), "dy"_a.noconvert(), "lx"_a.none(), "ly"_a.none(), "mask"_a.none(), "lead"_a,
          "out"_a.noconvert());
    m.def("absorb", absorb, "lx"_a.none(), "ly"_a.none(), "mask"_a.none(), "out"_a.noconvert());
    m.def("settle", settle, "opened"_a.noconvert(), "bits"_a, "sign"_a.none(), "narrow"_a, "top"_a.none(), "lead"_a,
          "out"_a.noconvert());
    m.def("select", select, "bits"_a.noconvert(), "beta"_a.none(), "lead"_a, "opened"_a.noconvert(), "drop"_a, "terms"_a,
          "out"_a.noconvert());
    m.def("multiply", multiply, "x"_a, "y"_a, "products"_a, "lead"_a, "out"_a.noconvert());
    m.def("deal", deal, "n"_a, "mask"_a.none(), "bits"_a.none(), "rows"_a, "out"_a.noconvert());
    m.attr("MOST_DRAWN") = most_drawn;
}

}  // namespace mpcrt
