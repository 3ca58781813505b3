// What the kernels of training share. CPUs with AVX512-BF16; tensors are bfloat16 in channels_last.

#pragma once

#include <immintrin.h>
#include <omp.h>

#include <cstdint>
#include <cstring>

#include "scratch.h"

using bf16 = uint16_t;

constexpr int LANES = 32;  // output channels of a micro-kernel, two registers

struct Shape {
    int64_t pictures, height, width, cell;  // cell: outputs of a tile along a side
    int64_t down() const { return height / cell; }
    int64_t across() const { return width / cell; }
    int64_t tiles() const { return pictures * down() * across(); }
};

static inline __m512 load(const bf16* at) {
    __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

static inline __m256i rounded(__m512 x) { return (__m256i)_mm512_cvtneps_pbh(x); }

static inline void store(bf16* at, __m512 x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), rounded(x)); }

// Both in turn: first[0], second[0], first[1], ...
static inline void store_pair(bf16* at, __m512 first, __m512 second) {
    const __m512i turns = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                           21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    _mm512_storeu_si512(at, _mm512_permutexvar_epi16(turns, (__m512i)_mm512_cvtne2ps_pbh(second, first)));
}

// Two neighbours in every lane.
static inline __m512i pair_of(const bf16* at) {
    int32_t both;
    std::memcpy(&both, at, 4);
    return _mm512_set1_epi32(both);
}

static inline __m512 dot(__m512 sum, const bf16* pair, __m512i column) {
    return _mm512_dpbf16_ps(sum, (__m512bh)column, (__m512bh)pair_of(pair));
}
