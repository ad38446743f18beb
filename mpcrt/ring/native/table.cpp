#include "table.h"

#include <atomic>

namespace mpcrt {

namespace {

#define MPCRT_FILL(name)      \
    name::add_gemm(table);    \
    name::add_bits(table);    \
    name::add_compare(table); \
    name::add_samples(table); \
    name::add_steps(table)

Table make(Level level) {
    Table table{};
    switch (level) {
        case Level::amx:
        case Level::avx512:
#if defined(MPCRT_HAS_avx512)
            MPCRT_FILL(avx512);
            avx512::add_prg(table);
#endif
#if defined(MPCRT_HAS_amx)
            if (level == Level::amx) amx::add_gemm(table);
#endif
            break;
        case Level::avx2:
#if defined(MPCRT_HAS_avx2)
            MPCRT_FILL(avx2);
            avx2::add_prg(table);
#endif
            break;
        case Level::portable: MPCRT_FILL(portable); break;
    }
    return table;
}

std::atomic<int> selected{-1};

const Table* tables() {
    static const Table made[] = {make(Level::portable), make(Level::avx2), make(Level::avx512), make(Level::amx)};
    return made;
}

}  // namespace

Level level() {
    const int chosen = selected.load(std::memory_order_relaxed);
    return chosen < 0 ? best_level() : static_cast<Level>(chosen);
}

const Table& kernels() { return tables()[static_cast<int>(level())]; }

bool set_level(Level level) {
    if (level > best_level()) return false;
    selected = static_cast<int>(level);
    return true;
}

}  // namespace mpcrt
