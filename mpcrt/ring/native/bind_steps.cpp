// Elementwise protocol steps on flat arrays of one length. Formulas: mpcrt/ring/reference_steps.py.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <tuple>
#include <vector>

#include "bind.h"
#include "steps.h"

namespace mpcrt {

namespace {

using Either = nb::ndarray<nb::ro, nb::device::cpu, nb::c_contig>;  // uint64 or uint32
using Term = std::tuple<Either, Either, std::optional<Flat>>;

Vector vector_of(const Either& array, size_t n) {
    const bool narrow = array.dtype() == nb::dtype<uint32_t>();
    require(array.size() == n && (narrow || array.dtype() == nb::dtype<uint64_t>()), "expected n words or 32-bit values");
    return {array.data(), narrow};
}

const uint64_t* optional_of(const std::optional<Flat>& array, size_t n) {
    require(!array || array->size() == n, "arrays differ in length");
    return array ? array->data() : nullptr;
}

void cross(Flat dx, Flat dy, std::optional<Flat> lx, std::optional<Flat> ly, bool lead, FlatOut out) {
    const size_t n = out.size();
    require(dx.size() == n && dy.size() == n, "arrays differ in length");
    const uint64_t *const x = dx.data(), *const y = dy.data(), *const mx = optional_of(lx, n), *const my = optional_of(ly, n);
    uint64_t* const to = out.data();
    nb::gil_scoped_release release;
    kernels().cross(n, x, y, mx, my, lead, to);
}

void settle(Flat opened, int bits, Either sign, bool lead, FlatOut out) {
    const size_t n = out.size();
    require(opened.size() == n && bits > 0 && bits < 64, "bad settlement");
    const Vector m = vector_of(sign, n);
    const uint64_t* const d = opened.data();
    uint64_t* const to = out.data();
    nb::gil_scoped_release release;
    kernels().settle(n, d, bits, m, lead, to);
}

void select(Flat bits, Flat beta, std::optional<Flat> factor, const std::vector<Term>& terms, bool lead, FlatOut out) {
    const size_t n = out.size();
    require(bits.size() >= (n + 63) / 64 && beta.size() == n && terms.size() <= most_terms, "bad selection");
    Select s{bits.data(), beta.data(), optional_of(factor, n), lead, 0, {}};
    for (const auto& [share, crossed, coefficient] : terms)
        s.term[s.terms++] = {vector_of(share, n), vector_of(crossed, n), {optional_of(coefficient, n), false}};
    uint64_t* const to = out.data();
    nb::gil_scoped_release release;
    kernels().select(n, s, to);
}

}  // namespace

void bind_steps(nb::module_& m) {
    using namespace nb::literals;
    m.def("cross", cross, "dx"_a.noconvert(), "dy"_a.noconvert(), "lx"_a.none(), "ly"_a.none(), "lead"_a, "out"_a.noconvert());
    m.def("settle", settle, "opened"_a.noconvert(), "bits"_a, "sign"_a.noconvert(), "lead"_a, "out"_a.noconvert());
    m.def("select", select, "bits"_a.noconvert(), "beta"_a.noconvert(), "factor"_a.none(), "terms"_a, "lead"_a,
          "out"_a.noconvert());
}

}  // namespace mpcrt
