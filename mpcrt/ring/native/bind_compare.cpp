// Block comparison. Shapes are checked here; layouts: mpcrt/ring/blocks.py.
#include <nanobind/stl/vector.h>

#include <vector>

#include "bind.h"
#include "compare.h"

namespace mpcrt {

namespace {

using Steps = nb::ndarray<const int32_t, nb::ndim<2>, nb::device::cpu, nb::c_contig>;

Digits digits_of(int drop, int width, int block) {
    require((block == 4 || block == 6) && width > 0 && drop >= 0 && drop + width <= 64, "unsupported digits");
    return {drop, width, block};
}

Extent extent_of(size_t n, int words_per_plane) {
    require(words_per_plane == 1 || words_per_plane == 8, "a plane of a superblock has 1 or 8 words");
    return {n, words_per_plane};
}

void look_up(Flat opened, Flat tables, int words_per_plane, int drop, int width, int block, bool equal, bool lead,
             FlatOut lt, FlatOut eq) {
    const Digits digits = digits_of(drop, width, block);
    const Extent extent = extent_of(opened.size(), words_per_plane);
    const size_t words = extent.superblocks() * words_per_plane * digits.blocks();
    require(tables.size() == words << block, "the tables do not fit");
    require(lt.size() == words && eq.size() == words, "the planes do not fit");
    const uint64_t *const d = opened.data(), *const t = tables.data();
    uint64_t *const lts = lt.data(), *const eqs = eq.data();
    nb::gil_scoped_release release;
    kernels().look_up(d, extent, digits, t, equal, lead, lts, eqs);
}

void deal_tables(Flat mask, int words_per_plane, int drop, int width, int block, bool equal, FlatOut tables) {
    const Digits digits = digits_of(drop, width, block);
    const Extent extent = extent_of(mask.size(), words_per_plane);
    require(tables.size() == extent.superblocks() * words_per_plane * digits.blocks() << block, "the tables do not fit");
    const uint64_t* const l = mask.data();
    uint64_t* const t = tables.data();
    nb::gil_scoped_release release;
    kernels().deal_tables(l, extent, digits, equal, t);
}

// arrays[i] is [superblock][planes[i]][words]; the first `written` ones are outputs.
void planes(Steps steps, const std::vector<Out>& written, const std::vector<In>& read) {
    PlaneProgram program{};
    static_assert(sizeof(PlaneStep) == 7 * sizeof(int32_t), "a step is a row of seven numbers");
    require(steps.shape(1) == 7 && written.size() + read.size() <= temporaries && !written.empty(), "bad plane program");
    const size_t superblocks = written[0].shape(0), words = written[0].shape(2);
    require(words == 1 || words == 8, "a plane of a superblock has 1 or 8 words");
    size_t count = 0;
    auto add = [&](const auto& array, uint64_t* data) {
        require(array.ndim() == 3 && array.shape(0) == superblocks && array.shape(2) == words, "planes do not fit");
        const bool whole = array.size() == 0 || (array.stride(2) == 1 && array.stride(1) == (int64_t)words &&
                                                 array.stride(0) == (int64_t)(words * array.shape(1)));
        require(whole, "planes must be contiguous");
        program.arrays[count] = data;
        program.planes[count++] = array.shape(1);
    };
    for (const auto& array : written) add(array, array.data());
    for (const auto& array : read) add(array, const_cast<uint64_t*>(array.data()));
    program.planes[temporaries] = most_temporaries;
    program.steps = reinterpret_cast<const PlaneStep*>(steps.data());
    program.count = steps.shape(0);
    auto within = [&](int32_t array, int32_t plane) {
        return array >= 0 && array < most_plane_arrays && plane >= 0 && (size_t)plane < program.planes[array];
    };
    for (size_t i = 0; i < program.count; ++i) {
        const PlaneStep& s = program.steps[i];
        const bool writable = s.d_array == temporaries || s.d_array < (int32_t)written.size();
        require(s.op >= 0 && s.op <= PlaneStep::accumulate && writable && within(s.d_array, s.d) &&
                    within(s.a_array, s.a) && within(s.b_array, s.b),
                "a plane program reaches outside its arrays");
    }
    nb::gil_scoped_release release;
    kernels().planes(program, superblocks, (int)words);
}

void bit_plane(Flat values, int position, FlatOut words) {
    require(position >= 0 && position < 64 && words.size() == (values.size() + 63) / 64, "bad bit plane");
    const uint64_t* const from = values.data();
    uint64_t* const to = words.data();
    const size_t n = values.size();
    nb::gil_scoped_release release;
    kernels().bit_plane(from, n, position, to);
}

}  // namespace

void bind_compare(nb::module_& m) {
    using namespace nb::literals;
    m.def("look_up", look_up, "opened"_a.noconvert(), "tables"_a.noconvert(), "words_per_plane"_a, "drop"_a, "width"_a,
          "block"_a, "equal"_a, "lead"_a, "lt"_a.noconvert(), "eq"_a.noconvert());
    m.def("deal_tables", deal_tables, "mask"_a.noconvert(), "words_per_plane"_a, "drop"_a, "width"_a, "block"_a, "equal"_a,
          "tables"_a.noconvert());
    m.def("planes", planes, "steps"_a.noconvert(), "written"_a, "read"_a);
    m.def("bit_plane", bit_plane, "values"_a.noconvert(), "position"_a, "words"_a.noconvert());
    m.attr("TEMPORARIES") = temporaries;
    m.attr("MOST_TEMPORARIES") = most_temporaries;
}

}  // namespace mpcrt
