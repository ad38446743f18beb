#include "bilinear.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "cpu.h"
#include "table.h"

namespace mpcrt {

namespace {

// Below this many multiply-adds a thread, starting threads costs more than it saves.
constexpr double work_per_thread = 4e6;

struct MatrixRows final : Rows {
    const uint64_t* data;
    long row_stride, column_stride;
    MatrixRows(const uint64_t* data, long count, long depth, long row_stride, long column_stride)
        : Rows(count, depth), data(data), row_stride(row_stride), column_stride(column_stride) {}
    const uint64_t* read(long r, long k, long n, uint64_t* scratch) const override {
        const uint64_t* from = data + r * row_stride + k * column_stride;
        if (column_stride == 1) return from;
        for (long i = 0; i < n; ++i) scratch[i] = from[i * column_stride];
        return scratch;
    }
};

// The windows of one feature group: row r is an output pixel, element k = (tap, channel).
struct WindowRows final : Rows {
    const Convolution& c;
    long first_channel, channels;
    long taps;
    std::vector<long> reach;   // [tap][dimension]: the tap's place in the dilated input, from the window's origin
    std::vector<long> offset;  // [tap]: the same in words of memory, where the input is not dilated
    bool dilated = false;
    long run = 0;  // elements of a window side by side: its last dimension, all channels; 0 where they are apart

    WindowRows(const Convolution& c, long count, long taps, long group)
        : Rows(count, taps * (c.channels / c.groups)), c(c), first_channel(group * (c.channels / c.groups)),
          channels(c.channels / c.groups), taps(taps), reach(taps * c.rank), offset(taps) {
        for (int d = 0; d < c.rank; ++d) dilated |= c.lhs_dilation[d] != 1;
        if (!dilated && c.rank && c.groups == 1 && c.rhs_dilation[c.rank - 1] == 1)
            run = c.window[c.rank - 1] * channels;
        for (long tap = 0; tap < taps; ++tap) {
            long rest = tap, scale = c.channels;
            for (int d = c.rank - 1; d >= 0; --d) {
                reach[tap * c.rank + d] = rest % c.window[d] * c.rhs_dilation[d];
                offset[tap] += reach[tap * c.rank + d] * scale;
                rest /= c.window[d];
                scale *= c.size[d];
            }
        }
    }

    const uint64_t* read(long r, long k, long n, uint64_t* scratch) const override {
        long origin[most_dimensions];  // of the window, in the dilated input
        for (int d = c.rank - 1; d >= 0; --d) {
            origin[d] = r % c.out_size[d] * c.stride[d] - c.low[d];
            r /= c.out_size[d];
        }
        if (run) return read_runs(r, origin, k, n, scratch);
        const uint64_t* const whole = inside(origin) ? at(r, origin) : nullptr;
        uint64_t* to = scratch;
        for (long tap = k / channels, channel = k % channels; n > 0; ++tap, channel = 0) {
            const long run = std::min(n, channels - channel);
            const uint64_t* const from = whole ? whole + offset[tap] : pixel(r, origin, tap);
            if (!from)
                std::memset(to, 0, sizeof(uint64_t) * run);
            else if (run >= 16)
                std::memcpy(to, from + channel, sizeof(uint64_t) * run);
            else
                for (long i = 0; i < run; ++i) to[i] = from[channel + i];
            to += run;
            n -= run;
        }
        return scratch;
    }

    // The same run by run: what lies outside the input, at either end of a run, is zero.
    const uint64_t* read_runs(long image, const long* origin, long k, long n, uint64_t* scratch) const {
        const int last = c.rank - 1;
        const long first = std::clamp(-origin[last], 0L, c.window[last]) * channels;
        const long end = std::clamp(c.size[last] - origin[last], 0L, c.window[last]) * channels;
        uint64_t* to = scratch;
        for (long at = k % run; n > 0; at = 0) {
            const long stop = std::min(run, at + n), tap = k / run * c.window[last];
            long place = image;
            bool there = true;
            for (int d = 0; d < last; ++d) {
                const long row = origin[d] + reach[tap * c.rank + d];
                there &= row >= 0 && row < c.size[d];
                place = place * c.size[d] + row;
            }
            const long low = there ? std::clamp(first, at, stop) : stop, high = std::clamp(end, low, stop);
            std::fill_n(to, low - at, 0);
            const uint64_t* const from = c.x + (place * c.size[last] + origin[last]) * channels;
            for (long i = low; i < high; ++i) to[i - at] = from[i];
            std::fill_n(to + (high - at), stop - high, 0);
            to += stop - at;
            k += stop - at;
            n -= stop - at;
        }
        return scratch;
    }

    // Whether every tap of the window lies on a pixel.
    bool inside(const long* origin) const {
        if (dilated || !taps) return false;
        for (int d = 0; d < c.rank; ++d)
            if (origin[d] < 0 || origin[d] + reach[(taps - 1) * c.rank + d] >= c.size[d]) return false;
        return true;
    }

    // The group's channels of a pixel of the undilated input.
    const uint64_t* at(long image, const long* place) const {
        for (int d = 0; d < c.rank; ++d) image = image * c.size[d] + place[d];
        return c.x + image * c.channels + first_channel;
    }

    // The group's channels of the input pixel under a tap, or null where the tap lies on padding or between pixels.
    const uint64_t* pixel(long image, const long* origin, long tap) const {
        long place[most_dimensions];
        for (int d = 0; d < c.rank; ++d) {
            place[d] = origin[d] + reach[tap * c.rank + d];
            if (place[d] < 0) return nullptr;
            if (c.lhs_dilation[d] != 1) {
                if (place[d] % c.lhs_dilation[d]) return nullptr;
                place[d] /= c.lhs_dilation[d];
            }
            if (place[d] >= c.size[d]) return nullptr;
        }
        return at(image, place);
    }
};

// Rows a task, so that the tasks are a few times as many as the threads.
long rows_a_task(long rows, long batch, double work, int& threads) {
    threads = (int)std::min<double>(threads, std::max(1.0, work / work_per_thread));
    if (threads <= 1) return std::max(rows, 1L);
    const long parts = std::max(1L, (threads + batch - 1) / batch);
    return std::max(8L, ((rows + parts - 1) / parts + 7) / 8 * 8);
}

struct MatmulTask {
    long m, n, k, parts, rows, c_stride, c_row_stride;
    Batched a, b;
    uint64_t* c;

    static void run(void* context, long i) {
        const MatmulTask& t = *static_cast<MatmulTask*>(context);
        const long batch = i / t.parts, first = i % t.parts * t.rows;
        const MatrixRows left(t.a.data + batch * t.a.stride, t.m, t.k, t.a.row_stride, t.a.column_stride);
        const Matrix right{t.b.data + batch * t.b.stride, t.k, t.n, t.b.row_stride, t.b.column_stride};
        kernels().gemm(left, right,
                       {t.c + batch * t.c_stride, t.c_row_stride, first, std::min(first + t.rows, t.m)});
    }
};

struct ConvolutionTask {
    const Convolution& c;
    long pixels, taps, parts, rows;

    static void run(void* context, long i) {
        const ConvolutionTask& t = *static_cast<ConvolutionTask*>(context);
        const long group = i / t.parts, first = i % t.parts * t.rows;
        const long width = t.c.features / t.c.groups;
        const WindowRows left(t.c, t.pixels, t.taps, group);
        const Matrix right{t.c.kernel + group * width, left.depth, width, t.c.features, 1};
        kernels().gemm(left, right, {t.c.out + group * width, t.c.features, first, std::min(first + t.rows, t.pixels)});
    }
};

}  // namespace

void matmul(long batch, long m, long n, long k, const Batched& a, const Batched& b, uint64_t* c, long c_stride,
            long c_row_stride, int threads) {
    if (!batch || !m || !n) return;
    if (m == 1 && n > 1 && b.row_stride == 1) {
        // Columns that lie contiguous, a transposed matrix's: the same as its rows times a column.
        const Batched left{b.data, b.stride, b.column_stride, 1}, right{a.data, a.stride, a.column_stride, a.row_stride};
        return matmul(batch, n, 1, k, left, right, c, c_stride, 1, threads);
    }
    const long rows = rows_a_task(m, batch, (double)batch * m * n * k, threads);
    MatmulTask task{m, n, k, (m + rows - 1) / rows, rows, c_stride, c_row_stride, a, b, c};
    parallel(threads, batch * task.parts, MatmulTask::run, &task);
}

void convolve(const Convolution& c, int threads) {
    long pixels = c.batch, taps = 1;
    for (int d = 0; d < c.rank; ++d) {
        pixels *= c.out_size[d];
        taps *= c.window[d];
    }
    if (!pixels || !c.features) return;
    const double work = (double)pixels * taps * (c.channels / c.groups) * c.features;
    const long rows = rows_a_task(pixels, c.groups, work, threads);
    ConvolutionTask task{c, pixels, taps, (pixels + rows - 1) / rows, rows};
    parallel(threads, c.groups * task.parts, ConvolutionTask::run, &task);
}

}  // namespace mpcrt
