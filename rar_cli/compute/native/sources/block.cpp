// What lies between the convolutions of the restorer's residual blocks, in one pass each, forward and backward.
//
// Feature maps are bf16 [pictures][pixels][channels], channels in multiples of 16 and at most 512. What there is one of
// for each picture is float [pictures][channels]; sums over its pixels too.

#include "common.h"

namespace {

constexpr int MOST = 512;
constexpr float EPSILON = 1e-5f;

inline __m512 exponential(__m512 x) {
    x = _mm512_max_ps(_mm512_min_ps(x, _mm512_set1_ps(88.0f)), _mm512_set1_ps(-87.0f));
    __m512 n = _mm512_roundscale_ps(x * _mm512_set1_ps(1.44269504f), 0);
    __m512 r = x - n * _mm512_set1_ps(0.693359375f) + n * _mm512_set1_ps(2.12194440e-4f);
    __m512 p = _mm512_set1_ps(1.0f / 720);
    const float terms[] = {1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f};
    for (float c : terms) p = p * r + _mm512_set1_ps(c);
    return _mm512_scalef_ps(p, n);
}

inline __m512 sigmoid(__m512 x) {
    return _mm512_set1_ps(1.0f) / (_mm512_set1_ps(1.0f) + exponential(_mm512_setzero_ps() - x));
}

inline __m512 at(const float* row, int64_t c) { return row ? _mm512_loadu_ps(row + c) : _mm512_set1_ps(1.0f); }

inline void add(float* sums, int64_t c, __m512 x) { _mm512_store_ps(sums + c, _mm512_load_ps(sums + c) + x); }

// Calls each(place of a pixel's features, picture, sums) for all pixels, a picture in one thread; hands out the sums.
template <class Each>
void over(int64_t pictures, int64_t pixels, int64_t channels, float* first, float* second, const Each& each) {
#pragma omp parallel for
    for (int64_t b = 0; b < pictures; b++) {
        alignas(64) float sums[2][MOST] = {};
        for (int64_t n = 0; n < pixels; n++) each((b * pixels + n) * channels, b * channels, sums);
        if (first) std::memcpy(first + b * channels, sums[0], channels * sizeof(float));
        if (second) std::memcpy(second + b * channels, sums[1], channels * sizeof(float));
    }
}

}  // namespace

extern "C" {

// result = norm(x) scale + shift, normed over channels; stats: mean and 1 / deviation of each pixel.
void rar_norm(const bf16* x, const float* scale, const float* shift, bf16* result, float* stats, int64_t pictures,
              int64_t pixels, int64_t channels) {
    over(pictures, pixels, channels, nullptr, nullptr, [=](int64_t i, int64_t row, float (*)[MOST]) {
        __m512 sum = _mm512_setzero_ps(), squares = _mm512_setzero_ps();
        for (int64_t c = 0; c < channels; c += 16) sum += load(x + i + c);
        const __m512 mean = _mm512_set1_ps(_mm512_reduce_add_ps(sum) / channels);
        for (int64_t c = 0; c < channels; c += 16) {
            __m512 d = load(x + i + c) - mean;
            squares += d * d;
        }
        const __m512 variance = _mm512_set1_ps(_mm512_reduce_add_ps(squares) / channels + EPSILON);
        const __m512 inverse = _mm512_set1_ps(1.0f) / _mm512_sqrt_ps(variance);
        for (int64_t c = 0; c < channels; c += 16)
            store(result + i + c, (load(x + i + c) - mean) * inverse * at(scale + row, c) + at(shift + row, c));
        stats[i / channels * 2] = _mm512_cvtss_f32(mean), stats[i / channels * 2 + 1] = _mm512_cvtss_f32(inverse);
    });
}

// Gradients of rar_norm; `beside` is added to that of x. to_scale, to_shift: sums over the pixels of each picture.
void rar_norm_back(const bf16* gradient, const bf16* x, const float* stats, const float* scale, const bf16* beside,
                   bf16* result, float* to_scale, float* to_shift, int64_t pictures, int64_t pixels,
                   int64_t channels) {
    over(pictures, pixels, channels, to_scale, to_shift, [=](int64_t i, int64_t row, float (*sums)[MOST]) {
        const __m512 mean = _mm512_set1_ps(stats[i / channels * 2]);
        const __m512 inverse = _mm512_set1_ps(stats[i / channels * 2 + 1]);
        __m512 plain = _mm512_setzero_ps(), along = _mm512_setzero_ps();
        for (int64_t c = 0; c < channels; c += 16) {
            __m512 g = load(gradient + i + c), normed = (load(x + i + c) - mean) * inverse;
            add(sums[0], c, g * normed), add(sums[1], c, g);
            g = g * at(scale + row, c);
            plain += g, along += g * normed;
        }
        plain = _mm512_set1_ps(_mm512_reduce_add_ps(plain) / channels);
        along = _mm512_set1_ps(_mm512_reduce_add_ps(along) / channels);
        for (int64_t c = 0; c < channels; c += 16) {
            __m512 normed = (load(x + i + c) - mean) * inverse, g = load(gradient + i + c) * at(scale + row, c);
            store(result + i + c, inverse * (g - plain - normed * along) + load(beside + i + c));
        }
    });
}

// result = silu(x) scale; scale may be null.
void rar_silu(const bf16* x, const float* scale, bf16* result, int64_t pictures, int64_t pixels, int64_t channels) {
    over(pictures, pixels, channels, nullptr, nullptr, [=](int64_t i, int64_t row, float (*)[MOST]) {
        for (int64_t c = 0; c < channels; c += 16) {
            __m512 v = load(x + i + c);
            store(result + i + c, v * sigmoid(v) * at(scale ? scale + row : nullptr, c));
        }
    });
}

// Gradients of rar_silu. to_scale, total: sums over pixels of what goes to the scale, and of the result.
void rar_silu_back(const bf16* gradient, const bf16* x, const float* scale, bf16* result, float* to_scale,
                   float* total, int64_t pictures, int64_t pixels, int64_t channels) {
    over(pictures, pixels, channels, to_scale, total, [=](int64_t i, int64_t row, float (*sums)[MOST]) {
        const __m512 one = _mm512_set1_ps(1.0f);
        for (int64_t c = 0; c < channels; c += 16) {
            __m512 v = load(x + i + c), g = load(gradient + i + c), s = sigmoid(v);
            __m512 back = g * at(scale ? scale + row : nullptr, c) * s * (one + v * (one - s));
            add(sums[0], c, g * v * s), add(sums[1], c, back);
            store(result + i + c, back);
        }
    });
}

// result = x + y gate.
void rar_gate(const bf16* x, const bf16* y, const float* gate, bf16* result, int64_t pictures, int64_t pixels,
              int64_t channels) {
    over(pictures, pixels, channels, nullptr, nullptr, [=](int64_t i, int64_t row, float (*)[MOST]) {
        for (int64_t c = 0; c < channels; c += 16)
            store(result + i + c, load(x + i + c) + load(y + i + c) * at(gate + row, c));
    });
}

// Gradients of rar_gate, but for that of x, which is `gradient`. to_gate: sums over pixels; total: of `gradient`.
void rar_gate_back(const bf16* gradient, const bf16* y, const float* gate, bf16* result, float* to_gate, float* total,
                   int64_t pictures, int64_t pixels, int64_t channels) {
    over(pictures, pixels, channels, to_gate, total, [=](int64_t i, int64_t row, float (*sums)[MOST]) {
        for (int64_t c = 0; c < channels; c += 16) {
            __m512 g = load(gradient + i + c);
            add(sums[0], c, g * load(y + i + c)), add(sums[1], c, g);
            store(result + i + c, g * at(gate + row, c));
        }
    });
}
}
