// Filling arrays from a stream, or adding, subtracting or exclusive-oring it onto them.
#include "aes.h"
#include "table.h"

namespace mpcrt::MPCRT_LEVEL {

typedef uint32_t Halves __attribute__((vector_size(64)));

template <Combine op> MPCRT_INLINE Words combined(Words old, Words fresh) {
    if (op == Combine::add) return old + fresh;
    if (op == Combine::subtract) return old - fresh;
    if (op == Combine::exclusive_or) return old ^ fresh;
    if (op == Combine::subtract_halves) return (Words)((Halves)old - (Halves)fresh);
    return fresh;
}

// Words first .. last - 1 of the eight vectors of words starting at word `base`, which is even.
template <Combine op>
static void part(const Key& key, Stream stream, uint64_t base, int first, int last, uint64_t* out) {
    Words generated[8];
    vectors(key, stream, base / 2, (last + 7) / 8, generated);
    uint64_t fresh[64], old[64];
    std::memcpy(fresh, generated, sizeof fresh);
    std::memcpy(old + first, out, sizeof(uint64_t) * (last - first));
    for (int i = first; i < last; ++i) {
        const Words word = combined<op>(all(op == Combine::set ? 0 : old[i]), all(fresh[i]));
        out[i - first] = word[0];
    }
}

template <Combine op>
static void run(const Key& key, Stream stream, uint64_t offset, size_t count, uint64_t* out) {
    size_t done = 0;
    if (offset % 2 && count) {
        part<op>(key, stream, offset - 1, 1, 2, out);
        done = 1;
    }
    for (; done + 64 <= count; done += 64) {
        Words fresh[8];
        encrypt_counters<8>(key, stream, (offset + done) / 2, fresh);
        for (int i = 0; i < 8; ++i)
            store(out + done + 8 * i, combined<op>(op == Combine::set ? fresh[i] : load(out + done + 8 * i), fresh[i]));
    }
    if (done < count) part<op>(key, stream, offset + done, 0, (int)(count - done), out + done);
}

static void prg(const Key& key, Stream stream, uint64_t offset, size_t count, uint64_t* out, Combine op) {
    switch (op) {
        case Combine::set: return run<Combine::set>(key, stream, offset, count, out);
        case Combine::add: return run<Combine::add>(key, stream, offset, count, out);
        case Combine::subtract: return run<Combine::subtract>(key, stream, offset, count, out);
        case Combine::exclusive_or: return run<Combine::exclusive_or>(key, stream, offset, count, out);
        case Combine::subtract_halves: return run<Combine::subtract_halves>(key, stream, offset, count, out);
    }
}

void add_prg(Table& table) { table.prg = prg; }

}  // namespace mpcrt::MPCRT_LEVEL
