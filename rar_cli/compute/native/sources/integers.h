// Products of whole numbers of 16 bits, two at a time, with sums of 32 bits.

#pragma once

// Norm over the channels of what is multiplied: by Cauchy and Schwarz a sum stays below 2^31.
constexpr float NORM = 32700.0f;

// Adds the products of both halves of each pair; S, V: vectors of one length, whatever they hold. In assembler, for by
// the intrinsics GCC 12 keeps the sums in memory in some places, which takes twice as long.
template <class S, class V> static inline void add_products(S& sum, V a, V b) {
#ifdef __AVX512VNNI__
    asm("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
#else
    V both;
    asm("vpmaddwd %3, %2, %1\n\tvpaddd %1, %0, %0" : "+v"(sum), "=&v"(both) : "v"(a), "v"(b));
#endif
}
