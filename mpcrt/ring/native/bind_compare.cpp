// Block comparison. Shapes are checked here; layouts: mpcrt/ring/blocks.py.
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

// `sign`: bit drop + width of every element, packed; empty where it is not asked for.
uint64_t* sign_of(const FlatOut& sign, const Extent& extent, const Digits& digits) {
    require(sign.size() == 0 || (sign.size() == (extent.n + 63) / 64 && digits.drop + digits.width < 64), "no such sign");
    return sign.size() ? sign.data() : nullptr;
}

void look_up(Flat opened, nb::handle tables, int words_per_plane, int drop, int width, int block, bool equal, bool lead,
             FlatOut lt, FlatOut eq, FlatOut sign) {
    const Digits digits = digits_of(drop, width, block);
    const Extent extent = extent_of(opened.size(), words_per_plane);
    const size_t words = extent.superblocks() * words_per_plane * digits.blocks();
    const Operand operand(tables, words << block, false, true);
    const Source& source = operand;
    require(source.given() && lt.size() == words && eq.size() == words, "the planes do not fit");
    const uint64_t* const d = opened.data();
    uint64_t *const lts = lt.data(), *const eqs = eq.data(), *const signs = sign_of(sign, extent, digits);
    nb::gil_scoped_release release;
    kernels().look_up(d, extent, digits, source, equal, lead, lts, eqs, signs);
}

void deal_tables(nb::handle mask, size_t n, int words_per_plane, int drop, int width, int block, bool equal,
                 nb::handle less, FlatOut tables, FlatOut sign) {
    const Digits digits = digits_of(drop, width, block);
    const Extent extent = extent_of(n, words_per_plane);
    require(tables.size() == extent.superblocks() * words_per_plane * digits.blocks() << block, "the tables do not fit");
    const Operand l(mask, n), others(less, tables.size());
    require(!static_cast<const Source&>(others).data, "what others draw is drawn");
    uint64_t *const t = tables.data(), *const signs = sign_of(sign, extent, digits);
    nb::gil_scoped_release release;
    kernels().deal_tables(l, extent, digits, equal, others, t, signs);
}

std::pair<size_t, nb::object> numbered(nb::handle pair) {
    const auto both = nb::cast<nb::tuple>(pair);
    require(both.size() == 2, "an operand goes with its number of planes");
    const auto number = nb::cast<size_t>(both[0]);
    require(number < 1 << 16, "too many planes");
    return {number, both[1]};
}

// arrays[i] is [superblock][planes[i]][words]; the first `written` ones are outputs, of shape [superblock][planes][words],
// the others operands, (number of planes, source).
void planes(Steps steps, const std::vector<FlatOut>& written, const nb::tuple& read) {
    PlaneProgram program{};
    static_assert(sizeof(PlaneStep) == 7 * sizeof(int32_t), "a step is a row of seven numbers");
    require(steps.shape(1) == 7 && written.size() + read.size() <= temporaries && !written.empty(), "bad plane program");
    require(written[0].ndim() == 3, "planes do not fit");
    const size_t superblocks = written[0].shape(0), words = written[0].shape(2);
    require(words == 1 || words == 8, "a plane of a superblock has 1 or 8 words");
    size_t count = 0;
    for (const auto& array : written) {
        require(array.ndim() == 3 && array.shape(0) == superblocks && array.shape(2) == words, "planes do not fit");
        program.memory[count] = array.data();
        program.planes[count++] = array.shape(1);
    }
    std::vector<std::vector<uint64_t>> drawn;
    std::vector<Operand> operands;
    operands.reserve(read.size());
    for (nb::handle each : read) {
        const auto [number, given] = numbered(each);
        operands.emplace_back(given, superblocks * number * words, false, true);
        Source& source = program.arrays[count] = operands.back();
        if (source.count) drawn.emplace_back(number * words + 64);
        require(source.given() || !number, "an operand without planes");
        program.memory[count] = source.count ? drawn.back().data() : const_cast<uint64_t*>(source.data);
        program.planes[count++] = number;
    }
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

}  // namespace

void bind_compare(nb::module_& m) {
    using namespace nb::literals;
    m.def("look_up", look_up, "opened"_a.noconvert(), "tables"_a.none(), "words_per_plane"_a, "drop"_a, "width"_a, "block"_a,
          "equal"_a, "lead"_a, "lt"_a.noconvert(), "eq"_a.noconvert(), "sign"_a.noconvert());
    m.def("deal_tables", deal_tables, "mask"_a.none(), "n"_a, "words_per_plane"_a, "drop"_a, "width"_a, "block"_a, "equal"_a,
          "less"_a, "tables"_a.noconvert(), "sign"_a.noconvert());
    m.def("planes", planes, "steps"_a.noconvert(), "written"_a, "read"_a);
    m.attr("TEMPORARIES") = temporaries;
    m.attr("MOST_TEMPORARIES") = most_temporaries;
}

}  // namespace mpcrt
