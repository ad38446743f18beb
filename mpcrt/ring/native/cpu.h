// What the processor can do, aligned scratch memory, and threads.
#pragma once
#include <cstddef>
#include <cstdint>

namespace mpcrt {

enum class Level : int { portable, avx2, avx512, amx };

// The highest level that this processor, operating system and build have.
Level best_level();

const char* name_of(Level level);

// Memory aligned to 2 MiB where it is large, kept in a pool between calls: a first touch costs more than a kernel.
class Scratch {
public:
    explicit Scratch(size_t bytes);
    ~Scratch();
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    template <class T> T* as() const { return static_cast<T*>(memory_); }

private:
    void* memory_;
    size_t capacity_;
};

// Runs task(context, i) for i in 0 .. count - 1 on up to `threads` threads, the caller among them.
void parallel(int threads, long count, void (*task)(void* context, long i), void* context);

// Makes the C library keep freed memory instead of returning it to the kernel after each large array.
bool keep_memory();

}  // namespace mpcrt
