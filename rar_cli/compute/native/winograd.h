// Winograd's F(2x2, 3x3), Lavin and Gray, arXiv 1509.09308: 4 outputs take 16 multiplications instead of 36.
//
// Sums and transforms are float32; what goes into the products is rounded to bfloat16.
// Covered: stride 1, padding 1, even sides, channels in multiples of 32 (16 where they go in). Nothing is checked here.

#pragma once

#include "common.h"

constexpr int POINTS = 16;  // of a transformed tile
constexpr int SKEW = 32;    // elements between points, so that their places in the cache differ

// The 4x4 input of a tile, 16 channels: B^T d B. `pixel` has the places of its pixels, zeros where there are none.
static inline void transformed_input(const bf16* const* pixel, int64_t channel, __m512* v) {
    __m512 t[16];
    for (int x = 0; x < 4; x++) {
        __m512 a = load(pixel[x] + channel), b = load(pixel[4 + x] + channel);
        __m512 c = load(pixel[8 + x] + channel), d = load(pixel[12 + x] + channel);
        t[x] = a - c, t[4 + x] = b + c, t[8 + x] = c - b, t[12 + x] = b - d;
    }
    for (int y = 0; y < 16; y += 4) {
        v[y] = t[y] - t[y + 2], v[y + 1] = t[y + 1] + t[y + 2];
        v[y + 2] = t[y + 2] - t[y + 1], v[y + 3] = t[y + 1] - t[y + 3];
    }
}

// Places of the side x side pixels of a tile that begin `before` pixels before its outputs.
static inline void places(const bf16* image, const bf16* zeros, Shape s, int64_t channels, int64_t tile, int side,
                          int before, const bf16** pixel) {
    int64_t column = tile % s.across(), row = tile / s.across() % s.down(), picture = tile / s.across() / s.down();
    bool real = tile < s.tiles();
    for (int i = 0; i < side * side; i++) {
        int64_t y = 2 * row + i / side - before, x = 2 * column + i % side - before;
        bool inside = real && y >= 0 && y < s.height && x >= 0 && x < s.width;
        pixel[i] = inside ? image + ((picture * s.height + y) * s.width + x) * channels : zeros;
    }
}
