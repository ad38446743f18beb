// Sampled functions. mpcrt.ring.compiled_samples passes parameters that samples.parse has bounded; sizes and shifts are
// checked here again. Formulas and layouts: mpcrt/ring/samples.py.
#include "bind.h"
#include "samples.h"

namespace mpcrt {

namespace {

using Integers = nb::ndarray<const int64_t, nb::ndim<1>, nb::device::cpu, nb::c_contig>;
using Doubles = nb::ndarray<const double, nb::ndim<1>, nb::device::cpu, nb::c_contig>;

bool between(int64_t low, int64_t value, int64_t high) { return low <= value && value <= high; }

template <class Array> auto turns_of(const Array& cosines, const Array& sines) {
    int bits = 1;
    while ((size_t)1 << bits < cosines.size()) ++bits;
    require(cosines.size() == (size_t)1 << bits && sines.size() == cosines.size() && bits <= 16, "bad table of angles");
    return Turns<std::remove_const_t<std::remove_pointer_t<decltype(cosines.data())>>>{cosines.data(), sines.data(), bits};
}

void series_sum(Flat d, nb::handle samples, uint64_t multiplier, uint64_t first, uint64_t step, int harmonics, int public_bits,
                Integers cosines, Integers sines, FlatOut out) {
    const size_t n = d.size();
    require(harmonics > 0 && out.size() == n, "the result does not fit");
    const Operand operand(samples, 2 * harmonics * n);
    const Source& source = operand;
    require(source.given() && source.count <= 1 && between(1, public_bits, trig_bits), "bad series");
    const auto table = turns_of(cosines, sines);
    const SeriesBasis basis{multiplier, first, step, harmonics, public_bits};
    const uint64_t* const opened = d.data();
    uint64_t* const to = out.data();
    nb::gil_scoped_release release;
    kernels().series_sum(opened, n, source, basis, table, to);
}

void series_deal(nb::handle mask, size_t n, uint64_t multiplier, uint64_t first, uint64_t step, bool odd,
                 Doubles coefficients, Doubles cosines, Doubles sines, nb::handle less, FlatOut samples) {
    const size_t harmonics = coefficients.size();
    require(samples.size() == 2 * n * harmonics, "samples do not fit");
    const Operand l(mask, n), others(less, samples.size());
    require(!static_cast<const Source&>(others).data, "what others draw is drawn");
    const auto table = turns_of(cosines, sines);
    const SeriesBasis basis{multiplier, first, step, (int)harmonics, trig_bits};
    const double* const a = coefficients.data();
    uint64_t* const to = samples.data();
    nb::gil_scoped_release release;
    kernels().series_deal(l, n, basis, odd, a, table, others, to);
}

void exp_sum(Flat d, nb::handle samples, uint64_t origin, int bits, int public_bits, Integers table, int table_bits,
             FlatOut out) {
    const size_t n = d.size();
    require(out.size() == n && table.size() == 1024, "the result does not fit");
    const Operand operand(samples, 4 * n);
    const Source& source = operand;
    require(source.given() && source.count <= 1 && between(3, bits, 61) && between(1, public_bits, trig_bits) &&
                between(10, table_bits, 30),
            "bad exp basis");
    const ExpBasis basis{origin, bits, public_bits, table.data(), table_bits};
    const uint64_t* const opened = d.data();
    uint64_t* const to = out.data();
    nb::gil_scoped_release release;
    kernels().exp_sum(opened, n, source, basis, to);
}

void exp_deal(nb::handle mask, size_t n, int bits, double unit_size, Doubles table, Doubles steps, nb::handle less,
              FlatOut samples) {
    require(samples.size() == 4 * n && table.size() == 1024 && steps.size() == 4 && between(3, bits, 61),
            "bad exp samples");
    const Operand l(mask, n), others(less, samples.size());
    require(!static_cast<const Source&>(others).data, "what others draw is drawn");
    const double *const scaled = table.data(), *const windows = steps.data();
    uint64_t* const to = samples.data();
    nb::gil_scoped_release release;
    kernels().exp_deal(l, n, bits, unit_size, scaled, windows, others, to);
}

void chebyshev_sum(Flat d, Flat samples, int window_bits, int table_bits, int degree, int public_bits, FlatOut out) {
    const size_t n = d.size();
    require(between(1, window_bits, 62) && between(0, table_bits, 16) && window_bits + table_bits <= 63 &&
                between(0, degree, 63) && between(1, public_bits, trig_bits),
            "bad chebyshev basis");
    require(samples.size() == (n << table_bits) * (degree + 1) && out.size() == n, "samples do not fit");
    const ChebyshevBasis basis{window_bits, table_bits, degree, public_bits};
    const uint64_t *const opened = d.data(), *const s = samples.data();
    uint64_t* const to = out.data();
    nb::gil_scoped_release release;
    kernels().chebyshev_sum(opened, n, s, basis, to);
}

}  // namespace

void bind_samples(nb::module_& m) {
    m.def("series_sum", series_sum);
    m.def("series_deal", series_deal);
    m.def("exp_sum", exp_sum);
    m.def("exp_deal", exp_deal);
    m.def("chebyshev_sum", chebyshev_sum);
}

}  // namespace mpcrt
