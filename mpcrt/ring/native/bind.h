// Shared by the binding files: array types and checks.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

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

void bind_ring(nb::module_& m);
void bind_compare(nb::module_& m);
void bind_samples(nb::module_& m);
void bind_steps(nb::module_& m);

}  // namespace mpcrt
