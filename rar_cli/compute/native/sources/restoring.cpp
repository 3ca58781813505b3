// 3x3 convolutions of restoring by Winograd's F(4x4, 3x3) in float32, with what lies before and behind them in a block.
//
// Feature maps are [pictures][height][width][channels], float32 or bfloat16; all arithmetic is float32. Stride 1,
// padding 1, sides of any size, channels in multiples of 16. A block of tiles is transformed, multiplied and turned
// back while it lies in a core's cache. What a block computes does not depend on the number of threads. Nothing is
// checked here.

#include "transforms.h"
#include "vector.h"

namespace {

constexpr int WIDE = 2 * LANES;  // output channels of a micro-kernel
constexpr int POINTS = Four::POINTS, IN = Four::IN, OUT = Four::OUT;
constexpr int TILES = LANES == 16 ? ROWS : 2 * ROWS;  // of a block; its features and products fit the second cache
constexpr int64_t SKEW = 16;  // numbers between points, so that their places in the cache differ
constexpr float EPSILON = 1e-5f;

enum Ending : int64_t { PLAIN, ACTIVE, GATED };

struct Layer {
    const float *stats, *scale, *shift;  // of the norm before it; stats null: none
    const float *weight, *offset;
    const float* factor;  // (pictures, out), of the activation or of the gate; null: 1
    int64_t pictures, height, width, in, out, ending;
    int64_t down() const { return (height + OUT - 1) / OUT; }
    int64_t across() const { return (width + OUT - 1) / OUT; }
    int64_t tiles() const { return pictures * down() * across(); }
};

struct Place {
    int64_t picture, y, x;
};

inline Place place_of(const Layer& l, int64_t tile) {
    const int64_t row = tile / l.across();
    return {row / l.down(), row % l.down() * OUT, tile % l.across() * OUT};
}

// weight [out / 16][in][3][3][16] -> kernel [point][out / WIDE][in][WIDE], LANES from `k` on; the last of `out` may
// be LANES. It takes a hundredth of the products' time, and four times the memory if it stayed.
inline void transform(const Layer& l, int64_t k, float* kernel) {
    const int64_t begin = k / WIDE * WIDE, lanes = begin + WIDE <= l.out ? WIDE : LANES;
    for (int64_t c = 0; c < l.in; c++) {
        const float* corner = l.weight + (k / 16 * l.in + c) * 9 * 16 + k % 16;
        vec x[9], t[3 * IN], u[POINTS];
        for (int i = 0; i < 9; i++) x[i] = load(corner + 16 * i);
        for (int i = 0; i < 3; i++) Four::weight(x + i, 3, t + i, 3);
        for (int i = 0; i < IN; i++) Four::weight(t + 3 * i, 1, u + i * IN, 1);
        for (int p = 0; p < POINTS; p++) store(kernel + (p * l.out + begin) * l.in + c * lanes + k - begin, u[p]);
    }
}

// products[tile][lane] = sum over channels of inputs[tile][channel] kernel[channel][lane], for ROWS tiles.
template <int VECTORS>
inline void multiply(const float* inputs, const float* kernel, float* products, int64_t channels) {
    vec sum[ROWS][VECTORS];
    for (int r = 0; r < ROWS; r++)
        for (int v = 0; v < VECTORS; v++) sum[r][v] = vec{};
    for (int64_t c = 0; c < channels; c++) {
        vec k[VECTORS];
        for (int v = 0; v < VECTORS; v++) k[v] = load(kernel + (c * VECTORS + v) * LANES);
#pragma GCC unroll 14
        for (int r = 0; r < ROWS; r++)
            for (int v = 0; v < VECTORS; v++) sum[r][v] += inputs[r * channels + c] * k[v];
    }
    for (int r = 0; r < ROWS; r++)
        for (int v = 0; v < VECTORS; v++) store(products + (r * VECTORS + v) * LANES, sum[r][v]);
}

// B^T d B of a tile, its features normed first where there are stats -> v[point * step + channel].
template <bool NORMED, bool INSIDE, class T>
inline void read_tile(const Layer& l, const T* image, const Place& at, float* v, int64_t step) {
    const int64_t first = (at.picture * l.height + at.y - 1) * l.width + at.x - 1;
    for (int64_t c = 0; c < l.in; c += LANES) {
        vec x[POINTS], t[POINTS];
        vec scale = {}, shift = {};
        if (NORMED) scale = load(l.scale + at.picture * l.in + c), shift = load(l.shift + at.picture * l.in + c);
#pragma GCC unroll 36
        for (int i = 0; i < POINTS; i++) {
            const int64_t pixel = first + i / IN * l.width + i % IN;
            const int64_t row = at.y - 1 + i / IN, column = at.x - 1 + i % IN;
            x[i] = vec{};
            if (!INSIDE && (row < 0 || row >= l.height || column < 0 || column >= l.width)) continue;
            x[i] = load(image + pixel * l.in + c);
            if (NORMED) x[i] = (x[i] * l.stats[2 * pixel + 1] - l.stats[2 * pixel]) * scale + shift;
        }
        for (int i = 0; i < IN; i++) Four::input(x + i, IN, t + i, IN);
        for (int i = 0; i < POINTS; i += IN) Four::input(t + i, 1, x + i, 1);
        for (int p = 0; p < POINTS; p++) store(v + p * step + c, x[p]);
    }
}

template <class T> void read(const Layer& l, const T* image, const Place& at, float* v, int64_t step) {
    const bool inside = at.y && at.x && at.y + OUT < l.height && at.x + OUT < l.width;
    if (l.stats)
        inside ? read_tile<true, true>(l, image, at, v, step) : read_tile<true, false>(l, image, at, v, step);
    else
        inside ? read_tile<false, true>(l, image, at, v, step) : read_tile<false, false>(l, image, at, v, step);
}

// A^T m A of a tile, LANES channels from `channel` on, the offset, and what ends the layer.
template <int ENDING, class T>
inline void write_tile(const Layer& l, const float* m, int64_t step, const Place& at, int64_t channel, const T* beside,
                       T* to) {
    vec x[POINTS], t[OUT * IN], y[OUT * OUT];
    const float* factors = l.factor ? l.factor + at.picture * l.out + channel : nullptr;
    const vec factor = factors ? load(factors) : vec{} + 1.0f, offset = l.offset ? load(l.offset + channel) : vec{};
    for (int i = 0; i < POINTS; i++) x[i] = load(m + i * step);
    for (int i = 0; i < IN; i++) Four::output(x + i, IN, t + i, IN);
    for (int i = 0; i < OUT; i++) Four::output(t + i * IN, 1, y + i * OUT, 1);
    const int64_t rows = l.height - at.y, columns = l.width - at.x;
    const int64_t first = (at.picture * l.height + at.y) * l.width + at.x;
#pragma GCC unroll 16
    for (int i = 0; i < OUT * OUT; i++) {
        if (i / OUT >= rows || i % OUT >= columns) continue;
        const int64_t place = (first + i / OUT * l.width + i % OUT) * l.out + channel;
        vec z = y[i] + offset;
        if (ENDING == ACTIVE) z = z * sigmoid(z) * factor;
        if (ENDING == GATED) z = load(beside + place) + z * factor;
        store(to + place, z);
    }
}

template <class T>
void write(const Layer& l, const float* m, int64_t step, const Place& at, int64_t channel, const T* beside, T* to) {
    if (l.ending == ACTIVE) write_tile<ACTIVE>(l, m, step, at, channel, beside, to);
    else if (l.ending == GATED) write_tile<GATED>(l, m, step, at, channel, beside, to);
    else write_tile<PLAIN>(l, m, step, at, channel, beside, to);
}

// Fetches what a tile writes while products are made.
template <class T> inline void fetch(const Layer& l, const T* result, const Place& at) {
    const int64_t rows = l.height - at.y < OUT ? l.height - at.y : OUT;
    const int64_t columns = l.width - at.x < OUT ? l.width - at.x : OUT;
    for (int64_t y = 0; y < rows; y++) {
        const T* row = result + ((at.picture * l.height + at.y + y) * l.width + at.x) * l.out;
        for (int64_t i = 0; i < columns * l.out; i += 64 / sizeof(T)) __builtin_prefetch(row + i, 1);
    }
}

// The products of all points of a block: inputs v -> m [point][out / WIDE][tile][WIDE].
template <class Between>
inline void multiply_all(const Layer& l, const float* kernel, const float* v, int64_t step, float* m, int64_t apart,
                         int64_t tiles, const Between& between) {
    for (int p = 0; p < POINTS; p++) {
        between(p);
        for (int64_t k = 0; k < l.out; k += WIDE) {
            const bool both = k + WIDE <= l.out;
            const float* own = kernel + (p * l.out + k) * l.in;
            float* products = m + p * apart + k * TILES;
            for (int64_t r = 0; r < tiles; r += ROWS)
                (both ? multiply<2> : multiply<1>)(v + p * step + r * l.in, own, products + r * (both ? WIDE : LANES),
                                                   l.in);
        }
    }
}

template <class T> void convolve(const Layer& l, const T* image, const T* beside, T* result, int64_t threads) {
    const int64_t blocks = (l.tiles() + TILES - 1) / TILES, step = TILES * l.in + SKEW, apart = TILES * l.out + SKEW;
    Scratch<float> kernel(POINTS * l.in * l.out);
#pragma omp parallel num_threads(threads)
    {
        Scratch<float> v(POINTS * step), m(POINTS * apart);
        Place places[TILES];
        std::memset(v.at, 0, POINTS * step * sizeof(float));
#pragma omp for
        for (int64_t k = 0; k < l.out; k += LANES) transform(l, k, kernel.at);
#pragma omp for schedule(dynamic)
        for (int64_t block = 0; block < blocks; block++) {
            const int64_t first = block * TILES, real = l.tiles() - first < TILES ? l.tiles() - first : TILES;
            for (int64_t t = 0; t < real; t++) {
                places[t] = place_of(l, first + t);
                read(l, image, places[t], v.at + t * l.in, step);
            }
            multiply_all(l, kernel.at, v.at, step, m.at, apart, real, [&](int p) {
                if (p < real) fetch(l, result, places[p]);
            });
            for (int64_t t = 0; t < real; t++)
                for (int64_t k = 0; k < l.out; k += LANES) {
                    const int64_t begin = k / WIDE * WIDE, lanes = begin + WIDE <= l.out ? WIDE : LANES;
                    write(l, m.at + begin * TILES + t * lanes + k - begin, apart, places[t], k, beside, result);
                }
        }
    }
}

// Of each pixel: mean / deviation and 1 / deviation over its channels.
template <class T> void measure(const T* image, float* stats, int64_t pixels, int64_t channels, int64_t threads) {
#pragma omp parallel for num_threads(threads)
    for (int64_t n = 0; n < pixels; n++) {
        const T* at = image + n * channels;
        vec sum = {}, squares = {};
        for (int64_t c = 0; c < channels; c += LANES) sum += load(at + c);
        const float mean = total(sum) / channels;
        for (int64_t c = 0; c < channels; c += LANES) {
            vec d = load(at + c) - mean;
            squares += d * d;
        }
        const float inverse = 1.0f / __builtin_sqrtf(total(squares) / channels + EPSILON);
        stats[2 * n] = mean * inverse, stats[2 * n + 1] = inverse;
    }
}

}  // namespace

extern "C" {

// stats [pixels][2] of image [pixels][channels], for the norm before a layer.
void rar_measure(const void* image, float* stats, int64_t pixels, int64_t channels, int64_t half, int64_t threads) {
#ifdef __AVX512BF16__
    if (half) return measure(static_cast<const bf16*>(image), stats, pixels, channels, threads);
#endif
    measure(static_cast<const float*>(image), stats, pixels, channels, threads);
}

// One layer. ending: 0 nothing, 1 SiLU times factor, 2 times factor and added to `beside`.
void rar_layer(const void* image, const float* stats, const float* scale, const float* shift, const float* weight,
               const float* offset, const float* factor, const void* beside, void* result, int64_t pictures,
               int64_t height, int64_t width, int64_t in, int64_t out, int64_t ending, int64_t half, int64_t threads) {
    const Layer l{stats, scale, shift, weight, offset, factor, pictures, height, width, in, out, ending};
#ifdef __AVX512BF16__
    if (half)
        return convolve(l, static_cast<const bf16*>(image), static_cast<const bf16*>(beside),
                        static_cast<bf16*>(result), threads);
#endif
    convolve(l, static_cast<const float*>(image), static_cast<const float*>(beside), static_cast<float*>(result),
             threads);
}
}
