// Shared by the binding files: array types and checks.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <tuple>
#include <vector>

#include "table.h"

namespace mpcrt {

namespace nb = nanobind;

// Any strides, and C order; arrays that are written must be writable.
using In = nb::ndarray<const uint64_t, nb::device::cpu>;
using Out = nb::ndarray<uint64_t, nb::device::cpu>;
using Flat = nb::ndarray<const uint64_t, nb::device::cpu, nb::c_contig>;
using FlatOut = nb::ndarray<uint64_t, nb::device::cpu, nb::c_contig>;
using Bytes = nb::ndarray<const uint8_t, nb::device::cpu, nb::c_contig>;
using BytesOut = nb::ndarray<uint8_t, nb::device::cpu, nb::c_contig>;

inline void require(bool condition, const char* message) {
    if (!condition) throw nb::value_error(message);
}

// The two halves of an 88-bit stream number, as Python passes it: (stream >> 24, stream & 0xffffff).
inline Stream stream_of(uint64_t high, uint64_t low24) { return {high, low24 << 40}; }

// (key, stream >> 24, stream & 0xffffff, offset), and an operand: words, or the streams it is drawn from, or neither (zeros).
using Place = std::tuple<const Key*, uint64_t, uint64_t, uint64_t>;
using Given = std::tuple<std::optional<Flat>, std::vector<Place>>;

// The operand of `count` words, or of as many 32-bit values.
inline Source source_of(const Given& given, size_t count, bool narrow = false) {
    const auto& [array, places] = given;
    Source source{nullptr, (int)places.size(), {}};
    require(places.size() <= most_drawn && (!array || places.empty()) && (!narrow || places.size() <= 1),
            "an operand of too many parts");
    require(places.empty() || kernels().prg, "the portable level has no AES");
    if (array) {
        require(array->size() == (narrow ? (count + 1) / 2 : count), "operands differ in length");
        source.data = array->data();
    }
    for (size_t i = 0; i < places.size(); ++i) {
        const auto [key, high, low, offset] = places[i];
        require(key, "a stream without a key");
        source.drawn[i] = {key, stream_of(high, low), offset};
    }
    return source;
}

void bind_ring(nb::module_& m);
void bind_compare(nb::module_& m);
void bind_samples(nb::module_& m);
void bind_steps(nb::module_& m);

}  // namespace mpcrt
