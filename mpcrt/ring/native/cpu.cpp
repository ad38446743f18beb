#include "cpu.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <malloc.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace mpcrt {

#if defined(MPCRT_HAS_amx) && defined(__linux__)
// Linux grants the tile registers (state component 18) to a process that asks: arch_prctl(ARCH_REQ_XCOMP_PERM).
static bool tiles_granted() {
    constexpr int request_permission = 0x1023, tile_data = 18;
    return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}
#endif

static Level detect() {
    Level level = Level::portable;
#if defined(__x86_64__)
    __builtin_cpu_init();
#if defined(MPCRT_HAS_avx2)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") &&
        __builtin_cpu_supports("aes"))
        level = Level::avx2;
#endif
#if defined(MPCRT_HAS_avx512)
    const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    unsigned eax = 7, ebx = 0, ecx = 0, edx = 0;
    __asm__("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    const bool vector_aes = ecx >> 9 & 1, tiles = (edx >> 24 & 1) && (edx >> 25 & 1);
    if (level == Level::avx2 && wide && vector_aes) level = Level::avx512;
#if defined(MPCRT_HAS_amx) && defined(__linux__)
    if (level == Level::avx512 && tiles && __builtin_cpu_supports("avx512vbmi") && tiles_granted()) level = Level::amx;
#endif
    (void)tiles;
#endif
#endif
    return level;
}

Level best_level() {
    static const Level level = detect();
    return level;
}

const char* name_of(Level level) {
    static const char* const names[] = {"portable", "avx2", "avx512", "amx"};
    return names[static_cast<int>(level)];
}

namespace {

constexpr size_t huge_page = size_t{2} << 20;
constexpr size_t kept_buffers = 8;

struct Kept {
    void* memory;
    size_t capacity;
};

std::mutex pool_lock;
std::vector<Kept> pool;

}  // namespace

Scratch::Scratch(size_t bytes) : memory_(nullptr), capacity_(0) {
    {
        std::lock_guard<std::mutex> guard(pool_lock);
        auto best = pool.end();
        for (auto it = pool.begin(); it != pool.end(); ++it)
            if (it->capacity >= bytes && (best == pool.end() || it->capacity < best->capacity)) best = it;
        if (best != pool.end()) {
            memory_ = best->memory;
            capacity_ = best->capacity;
            pool.erase(best);
            return;
        }
    }
    const size_t unit = bytes >= huge_page ? huge_page : 4096;
    capacity_ = std::max(unit, (bytes + unit - 1) / unit * unit);
    memory_ = std::aligned_alloc(unit, capacity_);
    if (!memory_) throw std::bad_alloc();
#if defined(__linux__)
    if (unit == huge_page) madvise(memory_, capacity_, MADV_HUGEPAGE);
#endif
}

Scratch::~Scratch() {
    std::lock_guard<std::mutex> guard(pool_lock);
    if (pool.size() >= kept_buffers) {
        auto least = std::min_element(pool.begin(), pool.end(),
                                      [](const Kept& a, const Kept& b) { return a.capacity < b.capacity; });
        if (least->capacity >= capacity_) {
            std::free(memory_);
            return;
        }
        std::free(least->memory);
        pool.erase(least);
    }
    pool.push_back({memory_, capacity_});
}

void parallel(int threads, long count, void (*task)(void*, long), void* context) {
    const long used = std::min<long>(threads, count);
    if (used <= 1) {
        for (long i = 0; i < count; ++i) task(context, i);
        return;
    }
    std::atomic<long> next{0};
    auto work = [&] {
        for (long i = next++; i < count; i = next++) task(context, i);
    };
    std::vector<std::thread> others;
    for (long t = 1; t < used; ++t) others.emplace_back(work);
    work();
    for (auto& thread : others) thread.join();
}

#if defined(__linux__) && defined(__GLIBC__)
// Of the heap, in huge pages; glibc keeps up to twice as much that is free at its end.
constexpr int pool_bytes = 512 << 20;

// Grows the heap by `pool_bytes` of address space in huge pages: one first touch a 2 MiB, not a 4 KiB, and few TLB entries.
static void reserve_pool() {
    constexpr size_t block = size_t{31} << 20;  // below the threshold of mmap
    const char* const first = static_cast<char*>(sbrk(0));
    mallopt(M_TOP_PAD, pool_bytes);
    std::vector<void*> blocks;  // until what was free is used up, so that the heap must grow
    while (sbrk(0) == first && blocks.size() < kept_buffers) blocks.push_back(std::malloc(block));
    for (void* b : blocks) std::free(b);
    mallopt(M_TOP_PAD, 64 << 20);
    const auto up = [](const void* p) { return (reinterpret_cast<uintptr_t>(p) + huge_page - 1) / huge_page * huge_page; };
    const uintptr_t from = up(first), to = up(sbrk(0));
    if (to > from + huge_page) madvise(reinterpret_cast<void*>(from), to - huge_page - from, MADV_HUGEPAGE);
}

bool keep_memory() {
    // 32 MiB is the most glibc accepts as a threshold; other threads' arenas are given back whole, so there is one.
    static const bool kept = mallopt(M_MMAP_THRESHOLD, 32 << 20) && mallopt(M_TRIM_THRESHOLD, 2 * pool_bytes) &&
                             mallopt(M_ARENA_MAX, 1) && (reserve_pool(), true);
    return kept;
}
#else
bool keep_memory() { return false; }
#endif

}  // namespace mpcrt
