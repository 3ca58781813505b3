// The products of a layer's tiles with its kernel, point by point, in whole numbers of 16 bits: with VNNI twice as many
// at a time as in float32, with AVX2 half as many again.
//
// Each tile's features at a point, and each output channel's kernel there, have a scale of their own, from their norm
// over the channels: by Cauchy and Schwarz no sum exceeds 32 bits. A layer rounds to 1e-3 at most. Channels c and
// c + LANES are a pair; input channels are filled up with zeros to whole pairs of vectors.

#pragma once

#include "integers.h"
#include "layer.h"

constexpr int FILLED = 48;  // the points, filled up to whole vectors

static inline int64_t pairs(const Layer& l) { return (l.in + WIDE - 1) / WIDE * LANES; }

// LANES numbers each of channels c and c + LANES, `apart` numbers from one channel to the next, times a scale.
template <class S>
static inline void store_pairs(const Layer& l, const float* from, int64_t c, int64_t apart, S scale, int32_t* to) {
    const whole low = (whole)(load(from) * scale + MAGIC);
    const whole high = c + LANES < l.in ? (whole)(load(from + LANES * apart) * scale + MAGIC) : whole{};
    const whole both = (low & 0xffff) | (high << 16);
    std::memcpy(to, &both, sizeof both);
}

// A layer's kernel: values [point][out / WIDE][pair][WIDE], and sizes [point][out] behind them.
struct Kernel {
    const int32_t* values;
    const float* sizes;
    Kernel(const Layer& l, const int32_t* at)
        : values(at), sizes(reinterpret_cast<const float*>(at + POINTS * pairs(l) * l.out)) {}
};

// G g G^T of LANES output channels from `k` on of weight [out / 16][in][3][3][16].
static inline void prepare(const Layer& l, const float* weight, int64_t k, int32_t* values, float* sizes) {
    Scratch<float> exact(POINTS * l.in * LANES);  // [point][in][LANES]
    vec squares[POINTS] = {};
    for (int64_t c = 0; c < l.in; c++) {
        const float* corner = weight + (k / 16 * l.in + c) * 9 * 16 + k % 16;
        vec x[9], t[3 * IN], u[POINTS];
        for (int i = 0; i < 9; i++) x[i] = load(corner + 16 * i);
        for (int i = 0; i < 3; i++) Four::weight(x + i, 3, t + i, 3);
        for (int i = 0; i < IN; i++) Four::weight(t + 3 * i, 1, u + i * IN, 1);
        for (int p = 0; p < POINTS; p++) {
            squares[p] += u[p] * u[p];
            store(exact.at + (p * l.in + c) * LANES, u[p]);
        }
    }
    const int64_t begin = k / WIDE * WIDE;
    for (int p = 0; p < POINTS; p++) {
        const vec norm = root(squares[p]), scale = norm == 0.0f ? vec{} : NORM / norm;
        store(sizes + p * l.out + k, norm / NORM);
        int32_t* to = values + (p * l.out + begin) * pairs(l) + k - begin;
        for (int64_t j = 0; j < pairs(l); j++) {
            const int64_t c = j / LANES * WIDE + j % LANES;
            store_pairs(l, exact.at + (p * l.in + c) * LANES, c, LANES, scale, to + j * l.lanes(k));
        }
    }
}

// The features of a block.
struct Inputs {
    int64_t step;
    Scratch<int32_t> values;  // [point][tile][pair]
    Scratch<float> sizes;     // [tile][FILLED]
    Scratch<float> exact;     // [point][in], of one tile
    explicit Inputs(const Layer& l)
        : step(TILES * pairs(l) + SKEW), values(POINTS * step), sizes(TILES * FILLED), exact(POINTS * l.in) {
        std::memset(values.at, 0, POINTS * step * sizeof(int32_t));  // the last block may have fewer tiles
        std::memset(sizes.at, 0, TILES * FILLED * sizeof(float));
    }

    template <class T> void read(const Layer& l, const Rows<const T>& image, const Place& at, int64_t tile) {
        ::read(l, image, at, exact.at, l.in);
        alignas(64) float scales[FILLED] = {};
        for (int p = 0; p < POINTS; p++) {
            vec squares = {};
            for (int64_t c = 0; c < l.in; c += LANES) {
                const vec x = load(exact.at + p * l.in + c);
                squares += x * x;
            }
            scales[p] = total(squares);
        }
        for (int p = 0; p < FILLED; p += LANES) {
            const vec norm = root(load(scales + p));
            store(sizes.at + tile * FILLED + p, norm / NORM);
            store(scales + p, norm == 0.0f ? vec{} : NORM / norm);
        }
        for (int p = 0; p < POINTS; p++)
            for (int64_t c = 0; c < l.in; c += WIDE) {
                int32_t* to = values.at + p * step + tile * pairs(l) + c / 2;
                store_pairs(l, exact.at + p * l.in + c, c, 1, scales[p], to);
            }
    }
};

// sums[tile][vector] of ROWS tiles. Not inlined, for else GCC keeps the sums in memory.
template <int VECTORS>
[[gnu::noinline]] void add_up(const int32_t* inputs, const int32_t* kernel, int64_t count, whole* sums) {
    whole sum[ROWS][VECTORS];
#pragma GCC unroll 14
    for (int r = 0; r < ROWS; r++) sum[r][0] = sum[r][VECTORS - 1] = whole{};
    for (int64_t j = 0; j < count; j++) {
        const whole *u = reinterpret_cast<const whole*>(kernel) + j * VECTORS, first = u[0], second = u[VECTORS - 1];
#pragma GCC unroll 14
        for (int r = 0; r < ROWS; r++) {
            const whole pair = whole{} + inputs[r * count + j];
            add_products(sum[r][0], first, pair);
            if (VECTORS == 2) add_products(sum[r][1], second, pair);
        }
    }
#pragma GCC unroll 14
    for (int r = 0; r < ROWS; r++)
        sums[r * VECTORS] = sum[r][0], sums[r * VECTORS + VECTORS - 1] = sum[r][VECTORS - 1];
}

// products[tile][lane] of ROWS tiles at a point, output channels from `k` on.
template <int VECTORS>
void multiply(const Layer& l, const Inputs& inputs, const Kernel& kernel, int p, int64_t k, int64_t tile,
              float* products) {
    const int64_t count = pairs(l);
    whole sums[ROWS * VECTORS];
    add_up<VECTORS>(inputs.values.at + p * inputs.step + tile * count, kernel.values + (p * l.out + k) * count,
                    count, sums);
    for (int v = 0; v < VECTORS; v++) {
        const vec size = load(kernel.sizes + p * l.out + k + v * LANES);
        for (int r = 0; r < ROWS; r++) {
            const float other = inputs.sizes.at[(tile + r) * FILLED + p];
            const vec sum = __builtin_convertvector(sums[r * VECTORS + v], vec);
            store(products + (r * VECTORS + v) * LANES, sum * (size * other));
        }
    }
}

// The products of all points of a block -> m [point][out / WIDE][tile][WIDE]; `between` runs before each point.
template <class Between>
void multiply_all(const Layer& l, const Inputs& inputs, const Kernel& kernel, float* m, int64_t apart, int64_t tiles,
                  const Between& between) {
    for (int p = 0; p < POINTS; p++) {
        between(p);
        for (int64_t k = 0; k < l.out; k += WIDE) {
            float* products = m + p * apart + k * TILES;
            for (int64_t r = 0; r < tiles; r += ROWS)
                if (l.lanes(k) == WIDE) multiply<2>(l, inputs, kernel, p, k, r, products + r * WIDE);
                else multiply<1>(l, inputs, kernel, p, k, r, products + r * LANES);
        }
    }
}
