// Winograd's F(2x2, 3x3) and F(4x4, 3x3), Lavin and Gray, arXiv 1509.09308: 4 outputs take 16 multiplications, not 36,
// or 16 outputs 36, not 144.
//
// Sums and transforms are float32. What goes into the products is rounded to bfloat16, by F(4x4) three times as much.
// Covered: stride 1, padding 1, sides in multiples of 2 or 4, channels in multiples of 32 (16 where they go in).
// Nothing is checked here.

#pragma once

#include "common.h"

constexpr int SKEW = 32;  // elements between points, so that their places in the cache differ

static inline __m512 all(float x) { return _mm512_set1_ps(x); }

// One line of a transform: x[i * from] -> y[i * to].
struct Two {
    static constexpr int OUT = 2, IN = 4, POINTS = 16, TILES = 56;  // tiles of a block: they fit the second cache
    static inline void input(const __m512* x, int from, __m512* y, int to) {
        y[0] = x[0] - x[2 * from], y[to] = x[from] + x[2 * from];
        y[2 * to] = x[2 * from] - x[from], y[3 * to] = x[from] - x[3 * from];
    }
    static inline void weight(const __m512* x, int from, __m512* y, int to) {
        __m512 even = all(0.5f) * (x[0] + x[2 * from]), odd = all(0.5f) * x[from];
        y[0] = x[0], y[to] = even + odd, y[2 * to] = even - odd, y[3 * to] = x[2 * from];
    }
    static inline void output(const __m512* x, int from, __m512* y, int to) {
        y[0] = x[0] + x[from] + x[2 * from], y[to] = x[from] - x[2 * from] - x[3 * from];
    }
};

// At the points 0, R, -R, 2 R, -2 R and infinity, which round half as much as 0, 1, -1, 2, -2.
struct Four {
    static constexpr int OUT = 4, IN = 6, POINTS = 36, TILES = 28;
    static constexpr float R = 0.70710678f;
    static inline void input(const __m512* x, int from, __m512* y, int to) {
        __m512 a = x[0], b = x[from], c = x[2 * from], d = x[3 * from], e = x[4 * from], f = x[5 * from];
        __m512 near = e - all(2.0f) * c, far = e - all(0.5f) * c;
        __m512 near_odd = all(R) * d - all(2 * R) * b, far_odd = all(2 * R) * d - all(R) * b;
        y[0] = a - all(2.5f) * c + e, y[to] = near + near_odd, y[2 * to] = near - near_odd;
        y[3 * to] = far + far_odd, y[4 * to] = far - far_odd, y[5 * to] = b - all(2.5f) * d + f;
    }
    static inline void weight(const __m512* x, int from, __m512* y, int to) {
        __m512 a = x[0], b = x[from], c = x[2 * from];
        __m512 near = all(-2.0f / 3) * a - all(1.0f / 3) * c, near_odd = all(-2.0f / 3 * R) * b;
        __m512 far = all(1.0f / 6) * a + all(1.0f / 3) * c, far_odd = all(R / 3) * b;
        y[0] = a, y[to] = near + near_odd, y[2 * to] = near - near_odd;
        y[3 * to] = far + far_odd, y[4 * to] = far - far_odd, y[5 * to] = c;
    }
    static inline void output(const __m512* x, int from, __m512* y, int to) {
        __m512 near = x[from] + x[2 * from], near_odd = x[from] - x[2 * from];
        __m512 far = x[3 * from] + x[4 * from], far_odd = x[3 * from] - x[4 * from];
        y[0] = x[0] + near + far, y[to] = all(R) * near_odd + all(2 * R) * far_odd;
        y[2 * to] = all(0.5f) * near + all(2.0f) * far;
        y[3 * to] = all(R / 2) * near_odd + all(4 * R) * far_odd + x[5 * from];
    }
};

// The input of a tile, 16 channels: B^T d B. `pixel` has the places of its pixels, zeros where there are none.
template <class W> inline void transformed_input(const bf16* const* pixel, int64_t channel, __m512* v) {
    __m512 x[W::POINTS], t[W::POINTS];
    for (int i = 0; i < W::POINTS; i++) x[i] = load(pixel[i] + channel);
    for (int i = 0; i < W::IN; i++) W::input(x + i, W::IN, t + i, W::IN);
    for (int i = 0; i < W::POINTS; i += W::IN) W::input(t + i, 1, v + i, 1);
}

// Places of the side x side pixels of a tile that begin `before` pixels before its outputs.
static inline void places(const bf16* image, const bf16* zeros, Shape s, int64_t channels, int64_t tile, int side,
                          int before, const bf16** pixel) {
    int64_t column = tile % s.across(), row = tile / s.across() % s.down(), picture = tile / s.across() / s.down();
    bool real = tile < s.tiles();
    for (int i = 0; i < side * side; i++) {
        int64_t y = s.cell * row + i / side - before, x = s.cell * column + i % side - before;
        bool inside = real && y >= 0 && y < s.height && x >= 0 && x < s.width;
        pixel[i] = inside ? image + ((picture * s.height + y) * s.width + x) * channels : zeros;
    }
}
