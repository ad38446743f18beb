// Block comparison. Shapes are checked here; layouts: mpcrt/ring/blocks.py.
#include <initializer_list>
#include <memory>

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
    require(n < 1ull << 40, "too many elements");  // so that no number of words wraps around
    return {n, words_per_plane};
}

// `sign`: bit drop + width of every element, packed; empty where it is not asked for.
uint64_t* sign_of(const FlatOut& sign, const Extent& extent, const Digits& digits) {
    require(sign.size() == 0 || (sign.size() == (extent.n + 63) / 64 && digits.drop + digits.width < 64), "no such sign");
    return sign.size() ? sign.data() : nullptr;
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

// A program on bit planes: the planes a superblock of each of its arrays, the first `written` of which are outputs.
struct Program {
    std::vector<PlaneStep> steps;
    std::vector<size_t> planes;

    Program(const Steps& rows, size_t written, std::vector<size_t> arrays) : planes(std::move(arrays)) {
        static_assert(sizeof(PlaneStep) == 7 * sizeof(int32_t), "a step is a row of seven numbers");
        require(rows.shape(1) == 7 && planes.size() <= temporaries, "bad plane program");
        const auto* first = reinterpret_cast<const PlaneStep*>(rows.data());
        steps.assign(first, first + rows.shape(0));
        auto within = [&](int32_t array, int32_t plane) {
            const bool named = array == temporaries || (array >= 0 && array < (int32_t)planes.size());
            return named && plane >= 0 && (size_t)plane < (array == temporaries ? most_temporaries : planes[array]);
        };
        for (const PlaneStep& s : steps) {
            const bool writable = s.d_array == temporaries || s.d_array < (int32_t)written;
            require(s.op >= 0 && s.op <= PlaneStep::accumulate && writable && within(s.d_array, s.d) &&
                        within(s.a_array, s.a) && within(s.b_array, s.b),
                    "a plane program reaches outside its arrays");
        }
    }

    // Arrays are [superblock][planes][words].
    void run(size_t superblocks, int words, std::initializer_list<uint64_t*> written,
             std::initializer_list<const Source*> read) const {
        PlaneProgram program{};
        size_t count = 0;
        for (uint64_t* array : written) {
            program.memory[count] = array;
            program.planes[count] = planes[count];
            ++count;
        }
        std::vector<uint64_t> drawn[most_plane_arrays];
        for (const Source* source : read) {
            if (source->count) drawn[count].resize(planes[count] * words + 64);
            program.arrays[count] = *source;
            program.memory[count] = source->count ? drawn[count].data() : const_cast<uint64_t*>(source->data);
            program.planes[count] = planes[count];
            ++count;
        }
        program.steps = steps.data();
        program.count = steps.size();
        kernels().planes(program, superblocks, words);
    }
};

struct Level {
    size_t inputs, opened, products, nodes;
    Program gather, deal, evaluate;
};

// A comparison at the lead or another party: its digits and the programs of its levels, checked once.
struct Tree {
    Digits digits;
    bool equal, lead;
    std::vector<Level> levels;

    Tree(int drop, int width, int block, bool equal, bool lead)
        : digits(digits_of(drop, width, block)), equal(equal), lead(lead) {}

    void add(size_t opened, size_t products, size_t nodes, const Steps& gather, const Steps& deal, const Steps& evaluate) {
        constexpr size_t most = 1 << 16;
        const size_t inputs = levels.empty() ? digits.blocks() : levels.back().nodes;
        require(opened < most && products < most && nodes < most, "too many planes");
        levels.push_back({inputs, opened, products, nodes,
                          Program(gather, 1, {opened, inputs, inputs, opened}),
                          Program(deal, 1, {products, opened, products}),
                          Program(evaluate, 2, {nodes, nodes, opened, opened, products, inputs, inputs})});
    }

    const Level& level(size_t number) const {
        require(number < levels.size(), "the tree has fewer levels");
        return levels[number];
    }
};

// The products of the masks of a level's opened planes, less what others draw of them.
void deal_products(const Tree& tree, size_t number, size_t n, int words, nb::handle masks, nb::handle less, FlatOut out) {
    const Level& level = tree.level(number);
    const size_t superblocks = extent_of(n, words).superblocks();
    require(out.size() == superblocks * level.products * words, "the products do not fit");
    const Operand l(masks, superblocks * level.opened * words, false, true), others(less, out.size(), false, true);
    const Source &drawn = l, &rest = others;
    require(drawn.given() && rest.given(), "products are of masks, less what others draw");
    uint64_t* const products = out.data();
    nb::gil_scoped_release release;
    level.deal.run(superblocks, words, {products}, {&drawn, &rest});
}

// One party's way up a tree: its shares of lt and eq of a level's inputs, between openings.
class Climb {
  public:
    Climb(const Tree& tree, size_t n, int words_per_plane) : tree(tree), extent(extent_of(n, words_per_plane)) {}

    // What the next level opens under `mask`, of what was opened last (D at first) and my share of what the dealer shared
    // for it (the tables, then products).
    void open(Flat opened, nb::handle share, nb::object under, FlatOut out) {
        const Level& level = tree.level(at);
        require(out.size() == words(level.opened), "what is opened does not fit");
        const Operand drawn(under, out.size(), false, true);
        const Source& source = drawn;
        require(source.given() || !out.size(), "what is opened is masked");
        advance(opened, share);
        mask = std::move(under);
        ++at;
        uint64_t* const masked = out.data();
        const Source lts = of(tree.equal ? eq : lt), eqs = of(eq);
        nb::gil_scoped_release release;
        level.gather.run(extent.superblocks(), extent.words_per_plane, {masked}, {&lts, &eqs, &source});
    }

    // The result, packed bits, after the last opening.
    void close(Flat opened, nb::handle share, FlatOut out) {
        const size_t levels = tree.levels.size();
        require(at == levels, "it is not at the top, or has been closed");
        require((levels ? tree.levels.back().nodes : tree.digits.blocks()) == 1, "the tree has one root");
        require(out.size() == (extent.n + 63) / 64, "the bits do not fit");
        advance(opened, share);
        ++at;
        const uint64_t* const bits = tree.equal ? eq.get() : lt.get();
        for (size_t i = 0; i < out.size(); ++i) out.data()[i] = bits[i] ^ (sign ? sign[i] : 0);
    }

    // Words that `open` writes next.
    size_t width() const { return at < tree.levels.size() ? words(tree.levels[at].opened) : 0; }

  private:
    using Memory = std::unique_ptr<uint64_t[]>;

    size_t words(size_t planes) const { return extent.superblocks() * extent.words_per_plane * planes; }
    static Memory memory(size_t count) { return Memory(new uint64_t[count]); }
    static Source of(const Memory& planes) { return {planes.get(), 0, {}}; }

    void advance(const Flat& opened, nb::handle share) {
        if (at)
            evaluate(opened, share);
        else
            look_up(opened, share);
    }

    void look_up(const Flat& opened, nb::handle tables) {
        const size_t planes = words(tree.digits.blocks());
        const Operand operand(tables, planes << tree.digits.block, false, true);
        const Source& source = operand;
        require((source.given() || !planes) && opened.size() == extent.n, "there is a table for each block of each element");
        eq = memory(planes);
        if (!tree.equal) lt = memory(planes);
        const bool signs = tree.lead && !tree.equal && tree.digits.drop + tree.digits.width < 64;
        if (signs) sign = memory((extent.n + 63) / 64);
        const uint64_t* const d = opened.data();
        nb::gil_scoped_release release;
        kernels().look_up(d, extent, tree.digits, source, tree.equal, tree.lead, lt.get(), eq.get(), sign.get());
    }

    void evaluate(const Flat& opened, nb::handle share) {
        const Level& level = tree.levels[at - 1];
        require(opened.size() == words(level.opened), "a level opened another number of words");
        const Operand masks(mask, opened.size(), false, true), products(share, words(level.products), false, true);
        const Source &m = masks, &p = products, lts = of(tree.equal ? eq : lt), eqs = of(eq), values{opened.data(), 0, {}};
        require(p.given() || !level.products, "a level has products");
        Memory lt_above = memory(words(level.nodes)), eq_above = memory(words(level.nodes));
        {
            nb::gil_scoped_release release;
            level.evaluate.run(extent.superblocks(), extent.words_per_plane, {lt_above.get(), eq_above.get()},
                               {&values, &m, &p, &lts, &eqs});
        }
        lt = std::move(lt_above), eq = std::move(eq_above);
    }

    const Tree& tree;
    Extent extent;
    size_t at = 0;  // the level that is opened next; one more than there are when it is closed
    Memory lt, eq, sign;  // of an equality only eq counts; the lead adds the sign
    nb::object mask;  // of what was opened last
};

}  // namespace

void bind_compare(nb::module_& m) {
    using namespace nb::literals;
    m.def("deal_tables", deal_tables, "mask"_a.none(), "n"_a, "words_per_plane"_a, "drop"_a, "width"_a, "block"_a, "equal"_a,
          "less"_a, "tables"_a.noconvert(), "sign"_a.noconvert());
    nb::class_<Tree>(m, "Tree")
        .def(nb::init<int, int, int, bool, bool>(), "drop"_a, "width"_a, "block"_a, "equal"_a, "lead"_a)
        .def("add", &Tree::add, "opened"_a, "products"_a, "nodes"_a, "gather"_a.noconvert(), "deal"_a.noconvert(),
             "evaluate"_a.noconvert());
    m.def("deal_products", deal_products, "tree"_a, "level"_a, "n"_a, "words_per_plane"_a, "masks"_a.none(),
          "less"_a, "out"_a.noconvert());
    nb::class_<Climb>(m, "Climb")
        .def(nb::init<const Tree&, size_t, int>(), nb::keep_alive<1, 2>(), "tree"_a, "n"_a, "words_per_plane"_a)
        .def_prop_ro("width", &Climb::width);
    // no methods: benchmarks/steps.py tells kernels from Python by the module's functions
    m.def("climb", &Climb::open, "climb"_a, "opened"_a.noconvert(), "share"_a, "mask"_a, "out"_a.noconvert());
    m.def("climbed", &Climb::close, "climb"_a, "opened"_a.noconvert(), "share"_a, "out"_a.noconvert());
    m.attr("MOST_TEMPORARIES") = most_temporaries;
}

}  // namespace mpcrt
