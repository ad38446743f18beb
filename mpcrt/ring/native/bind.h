// Shared by the binding files: array types and checks.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <optional>
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

// Words offset .. offset + count - 1 of a stream, by its 88-bit number.
inline Drawn drawn_of(const Key* key, nb::handle number, uint64_t offset, size_t count) {
    constexpr uint64_t stream_words = 2ull << 40;
    require(kernels().prg, "the portable level has no AES");
    const uint64_t low = PyLong_AsUnsignedLongLongMask(number.ptr());
    const nb::object rest = nb::steal(PyNumber_Rshift(number.ptr(), nb::int_(64).ptr()));
    const long high = rest.is_valid() ? PyLong_AsLong(rest.ptr()) : -1;
    if (PyErr_Occurred()) throw nb::python_error();
    require(high >= 0 && high < 1 << 24, "a stream number has 88 bits");
    require(offset <= stream_words && count <= stream_words - offset, "words lie outside a stream");
    return {key, {(uint64_t)high << 40 | low >> 24, low << 40}, offset};
}

// A source of mpcrt/ring/sources.py: `count` words, or as many 32-bit values, in memory, or drawn as a kernel goes, or
// None. What no kernel can draw (another generator's words, too many parts) is drawn into memory first.
class Operand {
  public:
    Operand(nb::handle given, size_t count, bool narrow = false, bool exclusive = false) {
        const size_t words = narrow ? (count + 1) / 2 : count;
        if (given.is_none() || (PyTuple_Check(given.ptr()) && draws(nb::borrow<nb::tuple>(given), words, narrow))) return;
        if (PyTuple_Check(given.ptr()))
            memory = nb::cast<Flat>(nb::module_::import_("mpcrt.ring.sources").attr("drawn")(given, words, exclusive));
        else
            memory = nb::cast<Flat>(given);
        require(memory.size() == words, "operands differ in length");
        source = {memory.data(), 0, {}};
    }

    operator const Source&() const { return source; }

  private:
    bool draws(const nb::tuple& drawings, size_t words, bool narrow) {
        if (drawings.size() > (narrow ? 1 : most_drawn)) return false;
        for (nb::handle each : drawings) {
            const auto drawing = nb::cast<nb::tuple>(each);
            const Key* key = nullptr;
            require(drawing.size() == 3, "a drawing is a generator, a stream and an offset");
            if (!nb::try_cast(drawing[0], key, false) || !key) return false;
            source.drawn[source.count++] = drawn_of(key, drawing[1], nb::cast<uint64_t>(drawing[2]), words);
        }
        return true;
    }

    Source source{};
    Flat memory;
};

void bind_ring(nb::module_& m);
void bind_compare(nb::module_& m);
void bind_samples(nb::module_& m);
void bind_steps(nb::module_& m);

}  // namespace mpcrt
