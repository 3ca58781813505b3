// The products of a layer's tiles with its kernel, point by point: in float32, or in whole numbers of 16 bits.

#pragma once

#include "layer.h"

// G g G^T of LANES output channels from `k` on and input channel c.
static inline void transform_weight(const Layer& l, int64_t k, int64_t c, vec* u) {
    const float* corner = l.weight + (k / 16 * l.in + c) * 9 * 16 + k % 16;
    vec x[9], t[3 * IN];
    for (int i = 0; i < 9; i++) x[i] = load(corner + 16 * i);
    for (int i = 0; i < 3; i++) Four::weight(x + i, 3, t + i, 3);
    for (int i = 0; i < IN; i++) Four::weight(t + 3 * i, 1, u + i * IN, 1);
}

// Kernels are [point][out / WIDE][in][WIDE], inputs [point][tile][in], products [point][out / WIDE][tile][WIDE]. A
// kernel takes a hundredth of the products' time, and four times the memory if it stayed.
struct InFloats {
    Scratch<float> kernel;
    explicit InFloats(const Layer& l) : kernel(POINTS * l.in * l.out) {}

    void prepare(const Layer& l, int64_t k) {
        const int64_t begin = k / WIDE * WIDE;
        float* own = kernel.at + begin * l.in + k - begin;
        for (int64_t c = 0; c < l.in; c++) {
            vec u[POINTS];
            transform_weight(l, k, c, u);
            for (int p = 0; p < POINTS; p++) store(own + p * l.out * l.in + c * l.lanes(k), u[p]);
        }
    }

    struct Room {
        int64_t step;
        Scratch<float> inputs;
        explicit Room(const Layer& l) : step(TILES * l.in + SKEW), inputs(POINTS * step) {
            std::memset(inputs.at, 0, POINTS * step * sizeof(float));  // the last block may have fewer tiles
        }
        template <class T> void read(const Layer& l, const Rows<const T>& image, const Place& at, int64_t tile) {
            ::read(l, image, at, inputs.at + tile * l.in, step);
        }
    };

    template <int VECTORS>
    void multiply(const Layer& l, const Room& room, int p, int64_t k, int64_t tile, float* products) const {
        const float *own = kernel.at + (p * l.out + k) * l.in, *inputs = room.inputs.at + p * room.step + tile * l.in;
        vec sum[ROWS][VECTORS];
        for (int r = 0; r < ROWS; r++)
            for (int v = 0; v < VECTORS; v++) sum[r][v] = vec{};
        for (int64_t c = 0; c < l.in; c++) {
            vec u[VECTORS];
            for (int v = 0; v < VECTORS; v++) u[v] = load(own + (c * VECTORS + v) * LANES);
#pragma GCC unroll 14
            for (int r = 0; r < ROWS; r++)
                for (int v = 0; v < VECTORS; v++) sum[r][v] += inputs[r * l.in + c] * u[v];
        }
        for (int r = 0; r < ROWS; r++)
            for (int v = 0; v < VECTORS; v++) store(products + (r * VECTORS + v) * LANES, sum[r][v]);
    }
};

#ifdef __AVX512VNNI__
// Twice as many products at a time. Each tile's features at a point, and each output channel's kernel there, have a
// scale of their own, from their norm over the channels: by Cauchy and Schwarz no sum exceeds 32 bits. A layer rounds
// to 1e-3 at most. Channels c and c + 16 lie side by side; input channels are filled up with zeros to multiples of 32.
struct InWholes {
    static constexpr float NORM = 32700.0f;
    static constexpr int FILLED = 48;  // the points, filled up to whole vectors
    static int64_t pairs(const Layer& l) { return (l.in + 31) / 32 * 16; }

    Scratch<int32_t> kernel;
    Scratch<float> sizes;  // [point][out]
    explicit InWholes(const Layer& l) : kernel(POINTS * pairs(l) * l.out), sizes(POINTS * l.out) {}

    static whole rounded(vec x) { return (whole)_mm512_cvtps_epi32((__m512)x); }
    static whole beside(whole low, whole high) {
        return (whole)_mm512_mask_mov_epi16((__m512i)(high << 16), 0x55555555, (__m512i)low);
    }

    void prepare(const Layer& l, int64_t k) {
        Scratch<float> transformed(POINTS * l.in * LANES);
        vec squares[POINTS] = {};
        for (int64_t c = 0; c < l.in; c++) {
            vec u[POINTS];
            transform_weight(l, k, c, u);
            for (int p = 0; p < POINTS; p++) {
                squares[p] += u[p] * u[p];
                store(transformed.at + (p * l.in + c) * LANES, u[p]);
            }
        }
        const int64_t begin = k / WIDE * WIDE;
        for (int p = 0; p < POINTS; p++) {
            const vec norm = (vec)_mm512_sqrt_ps((__m512)squares[p]), scale = norm > 0.0f ? NORM / norm : vec{};
            store(sizes.at + p * l.out + k, norm / NORM);
            const float* from = transformed.at + p * l.in * LANES;
            int32_t* to = kernel.at + (p * l.out + begin) * pairs(l) + k - begin;
            for (int64_t j = 0; j < pairs(l); j++) {
                const int64_t c = j / 16 * 32 + j % 16;
                const whole low = rounded(load(from + c * LANES) * scale);
                const whole high = c + 16 < l.in ? rounded(load(from + (c + 16) * LANES) * scale) : whole{};
                const whole both = beside(low, high);
                std::memcpy(to + j * l.lanes(k), &both, sizeof both);
            }
        }
    }

    struct Room {
        int64_t step;
        Scratch<int32_t> inputs;
        Scratch<float> exact, sizes;  // [point][in] of a tile; [tile][FILLED]
        explicit Room(const Layer& l)
            : step(TILES * pairs(l) + SKEW), inputs(POINTS * step), exact(POINTS * l.in), sizes(TILES * FILLED) {
            std::memset(inputs.at, 0, POINTS * step * sizeof(int32_t));
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
                const vec norm = (vec)_mm512_sqrt_ps((__m512)load(scales + p));
                store(sizes.at + tile * FILLED + p, norm / NORM);
                store(scales + p, norm == 0.0f ? vec{} : NORM / norm);
            }
            for (int p = 0; p < POINTS; p++) {
                const float* from = exact.at + p * l.in;
                int32_t* to = inputs.at + p * step + tile * pairs(l);
                for (int64_t c = 0; c < l.in; c += 32) {
                    const whole low = rounded(load(from + c) * scales[p]);
                    const whole high = c + 16 < l.in ? rounded(load(from + c + 16) * scales[p]) : whole{};
                    const whole both = beside(low, high);
                    std::memcpy(to + c / 2, &both, sizeof both);
                }
            }
        }
    };

    template <int VECTORS>
    void multiply(const Layer& l, const Room& room, int p, int64_t k, int64_t tile, float* products) const {
        const int64_t count = pairs(l);
        whole sum[ROWS * VECTORS];
        add_up<VECTORS>(room.inputs.at + p * room.step + tile * count, kernel.at + (p * l.out + k) * count, count, sum);
        for (int v = 0; v < VECTORS; v++) {
            const vec size = load(sizes.at + p * l.out + k + v * LANES);
            for (int r = 0; r < ROWS; r++) {
                const vec found = (vec)_mm512_cvtepi32_ps((__m512i)sum[r * VECTORS + v]);
                store(products + (r * VECTORS + v) * LANES, found * (size * room.sizes.at[(tile + r) * FILLED + p]));
            }
        }
    }

    // In assembler and not inlined, for GCC keeps the sums of the intrinsics in memory.
    template <int VECTORS>
    [[gnu::noinline]] static void add_up(const int32_t* inputs, const int32_t* own, int64_t count, whole* sums) {
        __m512i sum[ROWS][VECTORS];
#pragma GCC unroll 14
        for (int r = 0; r < ROWS; r++) sum[r][0] = sum[r][VECTORS - 1] = _mm512_setzero_si512();
        for (int64_t j = 0; j < count; j++) {
            const __m512i first = _mm512_load_si512(own + j * VECTORS * LANES);
            const __m512i second = VECTORS == 2 ? _mm512_load_si512(own + (j * VECTORS + 1) * LANES) : first;
#pragma GCC unroll 14
            for (int r = 0; r < ROWS; r++) {
                const __m512i both = _mm512_set1_epi32(inputs[r * count + j]);
                asm("vpdpwssd %2, %1, %0" : "+v"(sum[r][0]) : "v"(first), "v"(both));
                if (VECTORS == 2) asm("vpdpwssd %2, %1, %0" : "+v"(sum[r][1]) : "v"(second), "v"(both));
            }
        }
#pragma GCC unroll 14
        for (int r = 0; r < ROWS; r++)
            sums[r * VECTORS] = (whole)sum[r][0], sums[r * VECTORS + VECTORS - 1] = (whole)sum[r][VECTORS - 1];
    }
};
#endif

// The products of all points of a block -> m [point][out / WIDE][tile][WIDE]; `between` runs before each point.
template <class P, class Between>
void multiply_all(const Layer& l, const P& p, const typename P::Room& room, float* m, int64_t apart, int64_t tiles,
                  const Between& between) {
    for (int point = 0; point < POINTS; point++) {
        between(point);
        for (int64_t k = 0; k < l.out; k += WIDE) {
            const bool both = l.lanes(k) == WIDE;
            float* products = m + point * apart + k * TILES;
            for (int64_t r = 0; r < tiles; r += ROWS)
                if (both) p.template multiply<2>(l, room, point, k, r, products + r * WIDE);
                else p.template multiply<1>(l, room, point, k, r, products + r * LANES);
        }
    }
}
