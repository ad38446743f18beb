"""Arrays over Z_2^64: fixed-point codec, pseudo-random streams, and the kernels everything else is made of."""
