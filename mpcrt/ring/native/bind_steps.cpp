// Elementwise protocol steps on flat arrays of one length. Formulas: mpcrt/ring/reference_steps.py.
#include "bind.h"
#include "steps.h"

namespace mpcrt {

namespace {

void cross(Flat dx, Flat dy, const Given& lx, const Given& ly, const Given& mask, bool lead, FlatOut out) {
    const size_t n = out.size();
    require(dx.size() == n && dy.size() == n, "arrays differ in length");
    const Source mx = source_of(lx, n), my = source_of(ly, n), fresh = source_of(mask, n);
    const uint64_t *const x = dx.data(), *const y = dy.data();
    uint64_t* const to = out.data();
    nb::gil_scoped_release release;
    kernels().cross(n, x, y, mx, my, fresh, lead, to);
}

void absorb(const Given& lx, const Given& ly, const Given& mask, FlatOut out) {
    const size_t n = out.size();
    const Source mx = source_of(lx, n), my = source_of(ly, n), fresh = source_of(mask, n);
    uint64_t* const to = out.data();
    nb::gil_scoped_release release;
    kernels().absorb(n, mx, my, fresh, to);
}

void settle(Flat opened, int bits, const Given& sign, bool narrow, const Given& top, bool lead, FlatOut out) {
    const size_t n = out.size();
    require(opened.size() == n && bits > 0 && bits < 64, "bad settlement");
    const Source m = source_of(sign, n, narrow), r = source_of(top, n);
    const uint64_t* const d = opened.data();
    uint64_t* const to = out.data();
    nb::gil_scoped_release release;
    kernels().settle(n, d, bits, m, narrow, r, lead, to);
}

using Term = std::tuple<Given, Given>;

void select(Flat bits, const Given& beta, bool lead, Flat opened, int drop, bool narrow, const std::vector<Term>& terms,
            FlatOut out) {
    const size_t n = out.size();
    require(bits.size() >= (n + 63) / 64 && opened.size() == n && drop >= 0 && drop < 64, "bad selection");
    require(terms.size() <= (drop ? 2 : 1), "too many terms");
    Select s{bits.data(), source_of(beta, n), lead, opened.data(), drop, narrow, 0, {}, {}};
    for (const auto& [share, crossed] : terms) {
        s.share[s.terms] = source_of(share, n, s.terms && narrow);
        s.crossed[s.terms] = source_of(crossed, n, s.terms && narrow);
        ++s.terms;
    }
    uint64_t* const to = out.data();
    nb::gil_scoped_release release;
    kernels().select(n, s, to);
}

// (shift, narrow, what others draw)
using DealtRow = std::tuple<int, bool, Given>;

void deal(size_t n, const Given& mask, const std::optional<Flat>& bits, const std::vector<DealtRow>& rows, FlatOut out) {
    require(rows.size() <= most_rows && (!bits || bits->size() >= (n + 63) / 64), "bad vectors to deal");
    const Source l = source_of(mask, n);
    Dealt dealt{};
    size_t words = 0;
    for (const auto& [shift, narrow, less] : rows) {
        require(shift >= 0 && shift < 64 && !std::get<0>(less), "bad vectors to deal");
        dealt.row[dealt.count] = {shift, narrow, source_of(less, 0)};
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
    m.def("cross", cross, "dx"_a.noconvert(), "dy"_a.noconvert(), "lx"_a, "ly"_a, "mask"_a, "lead"_a, "out"_a.noconvert());
    m.def("absorb", absorb, "lx"_a, "ly"_a, "mask"_a, "out"_a.noconvert());
    m.def("settle", settle, "opened"_a.noconvert(), "bits"_a, "sign"_a, "narrow"_a, "top"_a, "lead"_a, "out"_a.noconvert());
    m.def("select", select, "bits"_a.noconvert(), "beta"_a, "lead"_a, "opened"_a.noconvert(), "drop"_a, "narrow"_a, "terms"_a,
          "out"_a.noconvert());
    m.def("deal", deal, "n"_a, "mask"_a, "bits"_a.none(), "rows"_a, "out"_a.noconvert());
    m.attr("MOST_DRAWN") = most_drawn;
}

}  // namespace mpcrt
