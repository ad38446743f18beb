#include "bind.h"

NB_MODULE(_native, m) {
    m.doc() = "Native kernels over Z_2^64; mpcrt.ring.compiled gives them the interface of mpcrt.ring.reference.";
    mpcrt::bind_ring(m);
    mpcrt::bind_compare(m);
    mpcrt::bind_samples(m);
    mpcrt::bind_steps(m);
}
