// Streams, products, convolutions, bit packing, and the choice of a level.
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <vector>

#include "bind.h"

namespace mpcrt {

namespace {

void stream_op(const Key& key, nb::handle stream, uint64_t offset, FlatOut out, int op) {
    require(op >= 0 && op <= 4, "unknown combination");
    uint64_t* const data = out.data();
    const size_t count = out.size();
    const Drawn drawn = drawn_of(&key, stream, offset, count);
    nb::gil_scoped_release release;
    kernels().prg(key, drawn.stream, offset, count, data, static_cast<Combine>(op));
}

void matmul3(In a, In b, Out out, int threads) {
    require(a.ndim() == 3 && b.ndim() == 3 && out.ndim() == 3, "expected arrays of three dimensions");
    const long batch = out.shape(0), m = out.shape(1), n = out.shape(2), k = a.shape(2);
    require((long)a.shape(1) == m && (long)b.shape(1) == k && (long)b.shape(2) == n, "shapes do not fit");
    require((long)a.shape(0) == batch || a.shape(0) == 1, "left batch does not fit");
    require((long)b.shape(0) == batch || b.shape(0) == 1, "right batch does not fit");
    require(out.stride(2) == 1 || n <= 1, "the result's last dimension must be contiguous");
    const Batched left{a.data(), a.shape(0) == 1 ? 0 : a.stride(0), a.stride(1), a.stride(2)};
    const Batched right{b.data(), b.shape(0) == 1 ? 0 : b.stride(0), b.stride(1), b.stride(2)};
    uint64_t* const c = out.data();
    const long c_stride = out.stride(0), c_row_stride = out.stride(1);
    nb::gil_scoped_release release;
    matmul(batch, m, n, k, left, right, c, c_stride, c_row_stride, threads);
}

void conv(Flat x, Flat kernel, FlatOut out, const std::vector<long>& stride, const std::vector<long>& low,
          const std::vector<long>& lhs_dilation, const std::vector<long>& rhs_dilation, long groups, int threads) {
    const int rank = (int)x.ndim() - 2;
    require(rank >= 0 && rank <= most_dimensions, "too many spatial dimensions");
    require(kernel.ndim() == x.ndim() && out.ndim() == x.ndim(), "ranks differ");
    for (const auto* v : {&stride, &low, &lhs_dilation, &rhs_dilation})
        require((int)v->size() == rank, "window parameters need one entry a spatial dimension");
    Convolution c{};
    c.x = x.data();
    c.kernel = kernel.data();
    c.out = out.data();
    c.rank = rank;
    c.batch = x.shape(0);
    c.channels = x.shape(rank + 1);
    c.features = kernel.shape(rank + 1);
    c.groups = groups;
    require(groups > 0 && c.channels == groups * (long)kernel.shape(rank) && c.features % groups == 0,
            "channels do not fit");
    require((long)out.shape(0) == c.batch && (long)out.shape(rank + 1) == c.features, "the result does not fit");
    for (int d = 0; d < rank; ++d) {
        require(stride[d] > 0 && lhs_dilation[d] > 0 && rhs_dilation[d] > 0, "strides and dilations are at least 1");
        c.size[d] = x.shape(1 + d);
        c.window[d] = kernel.shape(d);
        c.out_size[d] = out.shape(1 + d);
        c.stride[d] = stride[d];
        c.low[d] = low[d];
        c.lhs_dilation[d] = lhs_dilation[d];
        c.rhs_dilation[d] = rhs_dilation[d];
    }
    nb::gil_scoped_release release;
    convolve(c, threads);
}

void pack(Bytes bits, FlatOut words) {
    require(words.size() == (bits.size() + 63) / 64, "one word for 64 bits");
    const uint8_t* const from = bits.data();
    uint64_t* const to = words.data();
    const size_t n = bits.size();
    nb::gil_scoped_release release;
    kernels().pack(from, n, to);
}

void unpack(Flat words, BytesOut bits) {
    require(words.size() >= (bits.size() + 63) / 64, "too few words");
    const uint64_t* const from = words.data();
    uint8_t* const to = bits.data();
    const size_t n = bits.size();
    nb::gil_scoped_release release;
    kernels().unpack(from, n, to);
}

Level level_named(const std::string& name) {
    for (Level l : {Level::portable, Level::avx2, Level::avx512, Level::amx})
        if (name == name_of(l)) return l;
    throw nb::value_error("unknown level");
}

}  // namespace

void bind_ring(nb::module_& m) {
    using namespace nb::literals;
    nb::class_<Key>(m, "Key").def("__init__", [](Key* self, nb::bytes secret) {
        require(secret.size() == 16, "a stream key has 16 bytes");
        new (self) Key(reinterpret_cast<const uint8_t*>(secret.data()));
    });
    m.def("stream_op", stream_op, "key"_a, "stream"_a, "offset"_a, "out"_a.noconvert(), "op"_a);
    m.def("matmul", matmul3, "a"_a.noconvert(), "b"_a.noconvert(), "out"_a.noconvert(), "threads"_a);
    m.def("conv", conv, "x"_a.noconvert(), "kernel"_a.noconvert(), "out"_a.noconvert(), "stride"_a, "low"_a,
          "lhs_dilation"_a, "rhs_dilation"_a, "groups"_a, "threads"_a);
    m.def("pack", pack, "bits"_a.noconvert(), "words"_a.noconvert());
    m.def("unpack", unpack, "words"_a.noconvert(), "bits"_a.noconvert());
    m.def("keep_memory", keep_memory);
    m.def("level", [] { return std::string(name_of(level())); });
    m.def("levels", [] {
        std::vector<std::string> names;
        for (int l = 0; l <= (int)best_level(); ++l) names.emplace_back(name_of((Level)l));
        return names;
    });
    m.def("set_level", [](const std::string& name) { require(set_level(level_named(name)), "this processor lacks it"); });
}

}  // namespace mpcrt
