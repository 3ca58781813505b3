// A 3x3 convolution by Winograd's F(4x4, 3x3) with what lies before and behind it: its tiles, read and written.
//
// Feature maps are [pictures][height][width][channels], float32 or bfloat16; all arithmetic here is float32. Stride 1,
// padding 1, sides of any size, channels in multiples of 16. Nothing is checked.

#pragma once

#include "transforms.h"
#include "vector.h"

constexpr int WIDE = 2 * LANES;  // output channels of a micro-kernel
constexpr int POINTS = Four::POINTS, IN = Four::IN, OUT = Four::OUT;
constexpr int TILES = LANES == 16 ? ROWS : 2 * ROWS;  // of a block; its features and products fit the second cache
constexpr int64_t SKEW = 16;  // numbers between points, so that their places in the cache differ

enum Ending : int64_t { PLAIN, ACTIVE, GATED };

struct Layer {
    const float *stats, *scale, *shift;  // of the norm before it; stats null: none
    const float *offset, *factor;        // factor: (pictures, out), of the activation or of the gate; null: 1
    int64_t pictures, height, width, in, out, ending;
    int64_t down() const { return (height + OUT - 1) / OUT; }
    int64_t across() const { return (width + OUT - 1) / OUT; }
    int64_t tiles() const { return pictures * down() * across(); }
    int64_t blocks() const { return (tiles() + TILES - 1) / TILES; }
    // Lanes of the micro-kernel that makes output channel k; only the last one may be narrow.
    int64_t lanes(int64_t k) const { return k / WIDE * WIDE + WIDE <= out ? WIDE : LANES; }
};

struct Place {
    int64_t picture, y, x;
};

static inline Place place_of(const Layer& l, int64_t tile) {
    const int64_t row = tile / l.across();
    return {row / l.down(), row % l.down() * OUT, tile % l.across() * OUT};
}

// Rows of features, those of all pictures one below another, of which `held` lie in memory in turn.
template <class T> struct Rows {
    T* at;
    int64_t held, length;
    T* row(int64_t number) const { return at + number % held * length; }
};

// B^T d B of a tile, its features normed first where there are stats -> v[point * step + channel].
template <bool NORMED, bool INSIDE, class T>
static inline void read_tile(const Layer& l, const Rows<const T>& image, const Place& at, float* v, int64_t step) {
    const int64_t top = at.picture * l.height + at.y - 1;
    const T* rows[IN];
    for (int i = 0; i < IN; i++) {
        const bool real = INSIDE || (at.y - 1 + i >= 0 && at.y - 1 + i < l.height);
        rows[i] = real ? image.row(top + i) : nullptr;
    }
    for (int64_t c = 0; c < l.in; c += LANES) {
        vec x[POINTS], t[POINTS];
        vec scale = {}, shift = {};
        if (NORMED) scale = load(l.scale + at.picture * l.in + c), shift = load(l.shift + at.picture * l.in + c);
#pragma GCC unroll 36
        for (int i = 0; i < POINTS; i++) {
            const int64_t column = at.x - 1 + i % IN;
            x[i] = vec{};
            if (!INSIDE && (!rows[i / IN] || column < 0 || column >= l.width)) continue;
            x[i] = load(rows[i / IN] + column * l.in + c);
            if (!NORMED) continue;
            const float* stats = l.stats + 2 * ((top + i / IN) * l.width + column);
            x[i] = (x[i] * stats[1] - stats[0]) * scale + shift;
        }
        for (int i = 0; i < IN; i++) Four::input(x + i, IN, t + i, IN);
        for (int i = 0; i < POINTS; i += IN) Four::input(t + i, 1, x + i, 1);
        for (int p = 0; p < POINTS; p++) store(v + p * step + c, x[p]);
    }
}

template <class T> void read(const Layer& l, const Rows<const T>& image, const Place& at, float* v, int64_t step) {
    const bool inside = at.y && at.x && at.y + OUT < l.height && at.x + OUT < l.width;
    if (l.stats)
        inside ? read_tile<true, true>(l, image, at, v, step) : read_tile<true, false>(l, image, at, v, step);
    else
        inside ? read_tile<false, true>(l, image, at, v, step) : read_tile<false, false>(l, image, at, v, step);
}

// A^T m A of a tile, LANES channels from `channel` on, the offset, and what ends the layer.
template <int ENDING, class T>
static inline void write_tile(const Layer& l, const float* m, int64_t step, const Place& at, int64_t channel,
                              const Rows<const T>& beside, const Rows<T>& to) {
    vec x[POINTS], t[OUT * IN], y[OUT * OUT];
    const float* factors = l.factor ? l.factor + at.picture * l.out + channel : nullptr;
    const vec factor = factors ? load(factors) : vec{} + 1.0f, offset = l.offset ? load(l.offset + channel) : vec{};
    for (int i = 0; i < POINTS; i++) x[i] = load(m + i * step);
    for (int i = 0; i < IN; i++) Four::output(x + i, IN, t + i, IN);
    for (int i = 0; i < OUT; i++) Four::output(t + i * IN, 1, y + i * OUT, 1);
    const int64_t top = at.picture * l.height + at.y, columns = l.width - at.x;
    const int64_t first = at.x * l.out + channel;
#pragma GCC unroll 4
    for (int i = 0; i < OUT; i++) {
        if (at.y + i >= l.height) break;
        T* row = to.row(top + i) + first;
        const T* other = ENDING == GATED ? beside.row(top + i) + first : nullptr;
#pragma GCC unroll 4
        for (int j = 0; j < OUT; j++) {
            if (j >= columns) break;
            vec z = y[i * OUT + j] + offset;
            if (ENDING == ACTIVE) z = z * sigmoid(z) * factor;
            if (ENDING == GATED) z = load(other + j * l.out) + z * factor;
            store(row + j * l.out, z);
        }
    }
}

template <class T>
void write(const Layer& l, const float* m, int64_t step, const Place& at, int64_t channel, const Rows<const T>& beside,
           const Rows<T>& to) {
    if (l.ending == ACTIVE) write_tile<ACTIVE>(l, m, step, at, channel, beside, to);
    else if (l.ending == GATED) write_tile<GATED>(l, m, step, at, channel, beside, to);
    else write_tile<PLAIN>(l, m, step, at, channel, beside, to);
}

// Fetches what a tile writes while products are made.
template <class T> void fetch(const Layer& l, const Rows<T>& result, const Place& at) {
    const int64_t columns = l.width - at.x < OUT ? l.width - at.x : OUT;
    for (int64_t y = 0; y < OUT && at.y + y < l.height; y++) {
        const T* row = result.row(at.picture * l.height + at.y + y) + at.x * l.out;
        for (int64_t i = 0; i < columns * l.out; i += 64 / sizeof(T)) __builtin_prefetch(row + i, 1);
    }
}

// Of each pixel: mean / deviation and 1 / deviation over its channels.
template <class T> void measure(const T* image, float* stats, int64_t pixels, int64_t channels) {
    for (int64_t n = 0; n < pixels; n++) {
        const T* at = image + n * channels;
        vec sum = {}, squares = {};
        for (int64_t c = 0; c < channels; c += LANES) sum += load(at + c);
        const float mean = total(sum) / channels;
        for (int64_t c = 0; c < channels; c += LANES) {
            vec d = load(at + c) - mean;
            squares += d * d;
        }
        const float inverse = 1.0f / __builtin_sqrtf(total(squares) / channels + 1e-5f);
        stats[2 * n] = mean * inverse, stats[2 * n + 1] = inverse;
    }
}
