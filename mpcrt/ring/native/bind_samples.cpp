// Sampled functions. mpcrt.ring.compiled_samples passes parameters that samples.parse has bounded; sizes and shifts are
// checked here again. Formulas and layouts: mpcrt/ring/samples.py.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <tuple>
#include <vector>

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

// (key, stream >> 24, stream & 0xffffff, offset)
using Place = std::tuple<const Key*, uint64_t, uint64_t, uint64_t>;

Drawn drawn_of(const Place& place, size_t n) {
    const auto [key, high, low, offset] = place;
    require(key && kernels().prg, "the portable level has no AES");
    require(offset % 2 == 0 && n % 2 == 0, "samples are drawn from an even offset, for an even number of elements");
    return {key, stream_of(high, low), offset};
}

// Samples from memory or, where a place is given, from its stream.
Drawn source_of(const std::optional<Flat>& samples, const std::optional<Place>& place, size_t rows, size_t n) {
    require(samples.has_value() != place.has_value() && (!samples || samples->size() == rows * n), "samples do not fit");
    return place ? drawn_of(*place, n) : Drawn{};
}

Corrections corrections_of(const std::vector<Place>& places, size_t n) {
    require(places.size() <= most_drawn, "too many corrections");
    Corrections less{(int)places.size(), {}};
    for (size_t i = 0; i < places.size(); ++i) less.drawn[i] = drawn_of(places[i], n);
    return less;
}

void series_sum(Flat d, std::optional<Flat> samples, std::optional<Place> place, uint64_t multiplier, uint64_t first, uint64_t step, int harmonics, int public_bits,
                Integers cosines, Integers sines, FlatOut out) {
    const size_t n = d.size();
    require(harmonics > 0 && out.size() == n, "the result does not fit");
    const Drawn drawn = source_of(samples, place, 2 * harmonics, n);
    require(between(1, public_bits, trig_bits), "too many public bits");
    const auto table = turns_of(cosines, sines);
    const SeriesBasis basis{multiplier, first, step, harmonics, public_bits};
    const uint64_t *const opened = d.data(), *const s = samples ? samples->data() : nullptr;
    uint64_t* const to = out.data();
    nb::gil_scoped_release release;
    kernels().series_sum(opened, n, s, drawn, basis, table, to);
}

void series_deal(Flat mask, uint64_t multiplier, uint64_t first, uint64_t step, bool odd, Doubles coefficients,
                 Doubles cosines, Doubles sines, const std::vector<Place>& less, FlatOut samples) {
    const size_t n = mask.size(), harmonics = coefficients.size();
    require(samples.size() == 2 * n * harmonics, "samples do not fit");
    const Corrections corrections = corrections_of(less, n);
    const auto table = turns_of(cosines, sines);
    const SeriesBasis basis{multiplier, first, step, (int)harmonics, trig_bits};
    const uint64_t* const l = mask.data();
    const double* const a = coefficients.data();
    uint64_t* const to = samples.data();
    nb::gil_scoped_release release;
    kernels().series_deal(l, n, basis, odd, a, table, corrections, to);
}

void exp_sum(Flat d, std::optional<Flat> samples, std::optional<Place> place, uint64_t origin, int bits, int public_bits,
             Integers table, int table_bits, FlatOut out) {
    const size_t n = d.size();
    require(out.size() == n && table.size() == 1024, "the result does not fit");
    const Drawn drawn = source_of(samples, place, 4, n);
    require(between(3, bits, 61) && between(1, public_bits, trig_bits) && between(10, table_bits, 30), "bad exp basis");
    const ExpBasis basis{origin, bits, public_bits, table.data(), table_bits};
    const uint64_t *const opened = d.data(), *const s = samples ? samples->data() : nullptr;
    uint64_t* const to = out.data();
    nb::gil_scoped_release release;
    kernels().exp_sum(opened, n, s, drawn, basis, to);
}

void exp_deal(Flat mask, int bits, double unit_size, Doubles table, Doubles steps, const std::vector<Place>& less,
              FlatOut samples) {
    const size_t n = mask.size();
    require(samples.size() == 4 * n && table.size() == 1024 && steps.size() == 4 && between(3, bits, 61), "bad exp samples");
    const Corrections corrections = corrections_of(less, n);
    const uint64_t* const l = mask.data();
    const double *const scaled = table.data(), *const windows = steps.data();
    uint64_t* const to = samples.data();
    nb::gil_scoped_release release;
    kernels().exp_deal(l, n, bits, unit_size, scaled, windows, corrections, to);
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
    using namespace nb::literals;
    m.def("series_sum", series_sum, "d"_a, "samples"_a.none(), "place"_a.none(), "multiplier"_a, "first"_a, "step"_a,
          "harmonics"_a, "public_bits"_a, "cosines"_a, "sines"_a, "out"_a);
    m.def("series_deal", series_deal);
    m.def("exp_sum", exp_sum, "d"_a, "samples"_a.none(), "place"_a.none(), "origin"_a, "bits"_a, "public_bits"_a, "table"_a,
          "table_bits"_a, "out"_a);
    m.def("exp_deal", exp_deal);
    m.def("chebyshev_sum", chebyshev_sum);
}

}  // namespace mpcrt
