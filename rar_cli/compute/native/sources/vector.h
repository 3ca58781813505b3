// Vectors of float32 as long as the processor has them, by extensions of GCC and Clang: AVX-512, or AVX2 with FMA.

#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "scratch.h"

using bf16 = uint16_t;

#ifdef __AVX512F__
constexpr int LANES = 16, ROWS = 14;  // rows: of a micro-kernel, whose sums are two vectors each
#else
constexpr int LANES = 8, ROWS = 6;
#endif

typedef float vec __attribute__((vector_size(LANES * sizeof(float))));
typedef int32_t whole __attribute__((vector_size(LANES * sizeof(int32_t))));

static inline vec load(const float* at) {
    vec x;
    std::memcpy(&x, at, sizeof x);
    return x;
}

static inline void store(float* at, vec x) { std::memcpy(at, &x, sizeof x); }

#ifdef __AVX512BF16__
static inline vec load(const bf16* at) {
    __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
    return (vec)_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
}

static inline void store(bf16* at, vec x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), (__m256i)_mm512_cvtneps_pbh((__m512)x));
}
#endif

#ifdef __AVX512F__
static inline vec root(vec x) { return (vec)_mm512_sqrt_ps((__m512)x); }
static inline vec estimated_reciprocal(vec x) { return (vec)_mm512_rcp14_ps((__m512)x); }
static inline float total(vec x) { return _mm512_reduce_add_ps((__m512)x); }
#else
static inline vec root(vec x) { return (vec)_mm256_sqrt_ps((__m256)x); }
static inline vec estimated_reciprocal(vec x) { return (vec)_mm256_rcp_ps((__m256)x); }
static inline float total(vec x) {
    __m128 four = _mm_add_ps(_mm256_castps256_ps128((__m256)x), _mm256_extractf128_ps((__m256)x, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}
#endif

// A step of Newton's after the processor's estimate; a division takes several times as long.
static inline vec reciprocal(vec x) {
    const vec y = estimated_reciprocal(x);
    return y * (2.0f - x * y);
}

constexpr float MAGIC = 12582912.0f;  // 1.5 * 2^23: adding it rounds to whole numbers, which the lowest bits hold

static inline vec sigmoid(vec x) {
    const vec zero = {};
    vec y = x < -87.0f ? zero - 87.0f : x;  // NaN stays
    y = y > 87.0f ? zero + 87.0f : y;
    vec shifted = MAGIC - 1.44269504f * y, n = shifted - MAGIC;
    vec r = zero - y - n * 0.693359375f + n * 2.12194440e-4f;
    vec p = zero + 1.0f / 720;
    const float terms[] = {1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f};
    for (float c : terms) p = p * r + c;
    whole power = (whole)p + ((whole)shifted << 23);  // exp(-x)
    return reciprocal(1.0f + (vec)power);
}
