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

static inline void store_pair(bf16* at, __m512 first, __m512 second) {
    __m512i low = _mm512_cvtepu16_epi32(rounded(first)), high = _mm512_cvtepu16_epi32(rounded(second));
    _mm512_storeu_si512(at, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
}

static inline __m512 dot(__m512 sum, const bf16* pair, __m512i column) {
    int32_t both;
    std::memcpy(&both, pair, 4);
    return _mm512_dpbf16_ps(sum, (__m512bh)column, (__m512bh)_mm512_set1_epi32(both));
}
