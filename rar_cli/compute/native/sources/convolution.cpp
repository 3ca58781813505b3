// 3x3 convolutions of training, forward and in the gradient of the input.

#include <cmath>

#include "integers.h"
#include "winograd.h"

namespace {

constexpr int ROWS = 14;  // tiles that one micro-kernel multiplies: 28 sums in registers
template <class W> constexpr int TILES = W::OUT == 2 ? 56 : 28;  // of a block: they fit the second cache

// What goes into the products: bfloat16, or whole numbers of 16 bits in units of a tile and of an output channel. Sums
// are vectors of float for both, whatever they hold.
struct Bfloat {
    static inline __m512 dot(__m512 sum, __m512i pair, __m512i column) {
        return _mm512_dpbf16_ps(sum, (__m512bh)column, (__m512bh)pair);
    }
    static inline __m512 real(__m512 sum) { return sum; }
};
struct Integer {
    static inline __m512 dot(__m512 sum, __m512i pair, __m512i column) {
        add_products(sum, column, pair);
        return sum;
    }
    static inline __m512 real(__m512 sum) { return _mm512_cvtepi32_ps((__m512i)sum); }
};

constexpr float LEAST = 1e-30f;  // of the norms that are divided by

static inline __m256i whole(__m512 x) { return _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(x)); }

static inline void store_whole_pair(bf16* at, __m512 first, __m512 second) {
    __m512i low = _mm512_cvtps_epi32(first), high = _mm512_slli_epi32(_mm512_cvtps_epi32(second), 16);
    _mm512_storeu_si512(at, _mm512_mask_blend_epi16(0xAAAAAAAA, low, high));
}

// products[tile][lane] = sum over channels of inputs[tile][channel] kernel[channel][lane], for ROWS tiles.
template <class P>
inline void multiply(const bf16* inputs, const bf16* kernel, __m512* products, int64_t channels) {
    __m512 sum[ROWS][2];
    for (int r = 0; r < ROWS; r++) sum[r][0] = sum[r][1] = _mm512_setzero_ps();
    for (int64_t c = 0; c < channels; c += 2) {
        __m512i first = _mm512_loadu_si512(kernel + c * LANES), second = _mm512_loadu_si512(kernel + c * LANES + 32);
#pragma GCC unroll 14
        for (int r = 0; r < ROWS; r++) {
            const __m512i pair = pair_of(inputs + r * channels + c);
            sum[r][0] = P::dot(sum[r][0], pair, first), sum[r][1] = P::dot(sum[r][1], pair, second);
        }
    }
    for (int r = 0; r < ROWS; r++) products[2 * r] = sum[r][0], products[2 * r + 1] = sum[r][1];
}

// The input of a tile for the products, point by point `step` apart; gives its unit.
template <class W> inline float input_of(Bfloat, const bf16* const* pixel, int64_t in, bf16* v, int64_t step, __m512*) {
    for (int64_t c = 0; c < in; c += 16) {
        __m512 u[W::POINTS];
        transformed_input<W>(pixel, c, u);
        for (int p = 0; p < W::POINTS; p++) store(v + p * step + c, u[p]);
    }
    return 1;
}

// The norm of every point is at most the root of the sum, over lanes, of the largest of its parts.
template <class W>
inline float input_of(Integer, const bf16* const* pixel, int64_t in, bf16* v, int64_t step, __m512* exact) {
    __m512 squares[W::POINTS] = {}, most = {}, all = {};
    for (int64_t c = 0; c < in; c += 16) {
        __m512* u = exact + c / 16 * W::POINTS;
        transformed_input<W>(pixel, c, u);
        for (int p = 0; p < W::POINTS; p++) squares[p] += u[p] * u[p];
    }
    for (int p = 0; p < W::POINTS; p++) most = _mm512_max_ps(most, squares[p]), all += squares[p];
    const float norm = std::sqrt(_mm512_reduce_add_ps(most)) + LEAST;
    const __m512 scale = _mm512_set1_ps(NORM / norm);
    for (int64_t c = 0; c < in; c += 16)
        for (int p = 0; p < W::POINTS; p++)
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(v + p * step + c),
                                whole(exact[c / 16 * W::POINTS + p] * scale));
    return norm / NORM + 0 * _mm512_reduce_add_ps(all);  // what is not finite stays so
}

// A^T m A in its unit, and the offset: the outputs of a tile, 16 channels.
template <class W, class P>
inline void write_outputs(const __m512* m, int64_t step, __m512 unit, __m512 offset, bf16* at, int64_t channels,
                          int64_t row) {
    __m512 x[W::POINTS], t[W::OUT * W::IN], y[W::OUT * W::OUT];
    for (int i = 0; i < W::POINTS; i++) x[i] = P::real(m[i * step]);
    for (int i = 0; i < W::IN; i++) W::output(x + i, W::IN, t + i, W::IN);
    for (int i = 0; i < W::OUT; i++) W::output(t + i * W::IN, 1, y + i * W::OUT, 1);
    for (int i = 0; i < W::OUT * W::OUT; i++)
        store(at + i / W::OUT * row + i % W::OUT * channels, y[i] * unit + offset);
}

// A weight [out][3][3][in] as its kernel reads it; back: in and out exchanged, and turned by half a turn.
struct Weight {
    const float* at;
    int64_t in, out;
    bool back;
    int64_t from() const { return back ? out : in; }
    int64_t to() const { return back ? in : out; }

    // G g G^T for an input channel and 16 output channels.
    template <class W> inline void transformed(int64_t channel, int64_t first, __m512* u) const {
        const int64_t next = back ? 9 * in : 1, lane = back ? 1 : 9 * in;
        const float* corner = at + first * lane + channel * next;
        __m512 x[9], t[3 * W::IN];
        for (int i = 0; i < 9; i++) x[i] = sixteen(corner + (back ? 8 - i : i) * in, lane);
        for (int i = 0; i < 3; i++) W::weight(x + i, 3, t + i, 3);
        for (int i = 0; i < W::IN; i++) W::weight(t + 3 * i, 1, u + i * W::IN, 1);
    }

    static inline __m512 sixteen(const float* first, int64_t apart) {
        if (apart == 1) return _mm512_loadu_ps(first);
        const __m512i numbers = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
        return _mm512_i32gather_ps(_mm512_mullo_epi32(numbers, _mm512_set1_epi32(static_cast<int>(apart))), first, 4);
    }
};

// Where 16 output channels and two input channels lie in a kernel [point][to / 32][from / 2][32][2].
static inline int64_t place(int64_t to, int64_t from, int64_t all) {
    return ((to / LANES * (all / 2) + from / 2) * LANES + to % LANES) * 2;
}

template <class W> void kernel_of(const Weight& w, bf16* kernel) {
    const int64_t from = w.from();
#pragma omp parallel for
    for (int64_t l = 0; l < w.to(); l += 16) {
        for (int64_t f = 0; f < from; f += 2) {
            __m512 first[W::POINTS], second[W::POINTS];
            w.transformed<W>(f, l, first), w.transformed<W>(f + 1, l, second);
            for (int p = 0; p < W::POINTS; p++)
                store_pair(kernel + p * w.in * w.out + place(l, f, from), first[p], second[p]);
        }
    }
}

// The same for products of integers, and the unit of each output channel.
template <class W> void integer_kernel_of(const Weight& w, bf16* kernel, float* units) {
    const int64_t from = w.from();
#pragma omp parallel
    {
        Scratch<__m512> exact(W::POINTS * from);
#pragma omp for
        for (int64_t l = 0; l < w.to(); l += 16) {
            __m512 squares[W::POINTS] = {}, most = {};
            for (int64_t f = 0; f < from; f++) {
                __m512* u = exact.at + f * W::POINTS;
                w.transformed<W>(f, l, u);
                for (int p = 0; p < W::POINTS; p++) squares[p] += u[p] * u[p];
            }
            for (int p = 0; p < W::POINTS; p++) most = _mm512_max_ps(most, squares[p]);
            const __m512 norm = _mm512_sqrt_ps(most) + _mm512_set1_ps(LEAST), scale = _mm512_set1_ps(NORM) / norm;
            _mm512_storeu_ps(units + l, norm * _mm512_set1_ps(1 / NORM));
            for (int64_t f = 0; f < from; f += 2) {
                const __m512 *first = exact.at + f * W::POINTS, *second = first + W::POINTS;
                for (int p = 0; p < W::POINTS; p++)
                    store_whole_pair(kernel + p * w.in * w.out + place(l, f, from), first[p] * scale,
                                     second[p] * scale);
            }
        }
    }
}

// image [b][h][w][in], kernel and units of rar_kernel, offset [out] or null -> result [b][h][w][out].
template <class W, class P>
void convolve(const bf16* image, const bf16* kernel, const float* units, const float* offset, bf16* result,
              int64_t pictures, int64_t height, int64_t width, int64_t in, int64_t out) {
    const Shape s{pictures, height, width, W::OUT};
    const int64_t blocks = (s.tiles() + TILES<W> - 1) / TILES<W>;
    const int64_t step = TILES<W> * in + SKEW, apart = TILES<W> * LANES / 16 + 1;
#pragma omp parallel
    {
        Scratch<bf16> v(W::POINTS * step), zeros(in);
        Scratch<__m512> m(W::POINTS * apart);
        Scratch<__m512> exact(W::POINTS * in / 16);
        std::memset(zeros.at, 0, in * sizeof(bf16));
#pragma omp for
        for (int64_t block = 0; block < blocks; block++) {
            const int64_t first = block * TILES<W>, real = s.tiles() - first < TILES<W> ? s.tiles() - first : TILES<W>;
            const int64_t rows = (real + ROWS - 1) / ROWS * ROWS;
            float tile_unit[TILES<W>];
            for (int64_t t = 0; t < rows; t++) {
                const bf16* pixel[W::POINTS];
                places(image, zeros.at, s, in, first + t, W::IN, 1, pixel);
                tile_unit[t] = input_of<W>(P(), pixel, in, v.at + t * in, step, exact.at);
            }
            for (int64_t k = 0; k < out; k += LANES) {
                for (int p = 0; p < W::POINTS; p++)
                    for (int64_t r = 0; r < rows; r += ROWS)
                        multiply<P>(v.at + p * step + r * in, kernel + p * in * out + k * in,
                                    m.at + p * apart + r * LANES / 16, in);
                for (int64_t t = 0; t < real; t++) {
                    const int64_t tile = first + t, column = tile % s.across(), line = tile / s.across();
                    bf16* at = result + W::OUT * (line * width + column) * out + k;  // pictures lie one below another
                    for (int half = 0; half < LANES; half += 16) {
                        const __m512 bias = offset ? _mm512_loadu_ps(offset + k + half) : __m512{};
                        __m512 unit = _mm512_set1_ps(tile_unit[t]);
                        if (units) unit = unit * _mm512_loadu_ps(units + k + half);
                        write_outputs<W, P>(m.at + t * LANES / 16 + half / 16, apart, unit, bias, at + half, out,
                                            width * out);
                    }
                }
            }
        }
    }
}

}  // namespace

extern "C" {

// units: where there are any, products of integers by F(4x4) are meant; else those of bfloat16 by F(2x2).
void rar_kernel(const float* weight, bf16* kernel, float* units, int64_t in, int64_t out, int64_t back) {
    const Weight w{weight, in, out, back != 0};
    units ? integer_kernel_of<Four>(w, kernel, units) : kernel_of<Two>(w, kernel);
}

void rar_convolve(const bf16* image, const bf16* kernel, const float* units, const float* offset, bf16* result,
                  int64_t pictures, int64_t height, int64_t width, int64_t in, int64_t out) {
    auto way = units ? convolve<Four, Integer> : convolve<Two, Bfloat>;
    way(image, kernel, units, offset, result, pictures, height, width, in, out);
}
}
