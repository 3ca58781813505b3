// What the kernels of training share in Winograd's minimal filtering.
//
// Transforms are float32. What goes into the products is rounded: to bfloat16 with sums in float32, which by F(4x4)
// loses three times as much as by F(2x2), or to whole numbers of 16 bits with sums of 32, which loses less than either.
// Covered: stride 1, padding 1, sides in multiples of 2 or 4, channels in multiples of 32 (16 where they go in).
// Nothing is checked here.

#pragma once

#include "common.h"
#include "transforms.h"

constexpr int SKEW = 32;  // elements between points, so that their places in the cache differ

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
