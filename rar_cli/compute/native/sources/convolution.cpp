// 3x3 convolutions of training, forward and in the gradient of the input.

#include "winograd.h"

namespace {

constexpr int ROWS = 14;  // tiles that one micro-kernel multiplies: 28 sums in registers
template <class W> constexpr int TILES = W::OUT == 2 ? 56 : 28;  // of a block: they fit the second cache

// products[tile][lane] = sum over channels of inputs[tile][channel] kernel[channel][lane], for ROWS tiles.
inline void multiply(const bf16* inputs, const bf16* kernel, float* products, int64_t channels) {
    __m512 sum[ROWS][2];
    for (int r = 0; r < ROWS; r++) sum[r][0] = sum[r][1] = _mm512_setzero_ps();
    for (int64_t c = 0; c < channels; c += 2) {
        __m512i first = _mm512_loadu_si512(kernel + c * LANES), second = _mm512_loadu_si512(kernel + c * LANES + 32);
#pragma GCC unroll 14
        for (int r = 0; r < ROWS; r++) {
            sum[r][0] = dot(sum[r][0], inputs + r * channels + c, first);
            sum[r][1] = dot(sum[r][1], inputs + r * channels + c, second);
        }
    }
    for (int r = 0; r < ROWS; r++) {
        _mm512_store_ps(products + r * LANES, sum[r][0]);
        _mm512_store_ps(products + r * LANES + 16, sum[r][1]);
    }
}

// A^T m A and the offset: the outputs of a tile, 16 channels.
template <class W>
inline void write_outputs(const float* m, int64_t step, __m512 offset, bf16* at, int64_t channels, int64_t row) {
    __m512 x[W::POINTS], t[W::OUT * W::IN], y[W::OUT * W::OUT];
    for (int i = 0; i < W::POINTS; i++) x[i] = _mm512_load_ps(m + i * step);
    for (int i = 0; i < W::IN; i++) W::output(x + i, W::IN, t + i, W::IN);
    for (int i = 0; i < W::OUT; i++) W::output(t + i * W::IN, 1, y + i * W::OUT, 1);
    for (int i = 0; i < W::OUT * W::OUT; i++) store(at + i / W::OUT * row + i % W::OUT * channels, y[i] + offset);
}

// G g G^T of 16 kernels, which lie `lanes` apart; turned: by half a turn.
template <class W>
inline void transformed_weight(const float* corner, int64_t in, __m512i lanes, bool turned, __m512* u) {
    __m512 x[9], t[3 * W::IN];
    for (int i = 0; i < 9; i++) x[i] = _mm512_i32gather_ps(lanes, corner + (turned ? 8 - i : i) * in, 4);
    for (int i = 0; i < 3; i++) W::weight(x + i, 3, t + i, 3);
    for (int i = 0; i < W::IN; i++) W::weight(t + 3 * i, 1, u + i * W::IN, 1);
}


// weight [out][3][3][in], float32 -> kernel [point][out / 32][in / 2][32][2]; back: of the gradient of the input, with
// in and out exchanged and the weight turned by half a turn.
template <class W>
void kernel_of(const float* weight, bf16* kernel, int64_t in, int64_t out, int64_t back) {
    const int64_t from = back ? out : in, to = back ? in : out;
    const int64_t pair = back ? 9 * in : 1, lane = back ? 1 : 9 * in;  // to the next channel
    const __m512i lanes = _mm512_mullo_epi32(_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
                                             _mm512_set1_epi32(static_cast<int>(lane)));
#pragma omp parallel for
    for (int64_t l = 0; l < to; l += 16) {
        for (int64_t f = 0; f < from; f += 2) {
            __m512 first[W::POINTS], second[W::POINTS];
            const float* corner = weight + l * lane + f * pair;
            transformed_weight<W>(corner, in, lanes, back, first);
            transformed_weight<W>(corner + pair, in, lanes, back, second);
            bf16* base = kernel + ((l / LANES * (from / 2) + f / 2) * LANES + l % LANES) * 2;
            for (int p = 0; p < W::POINTS; p++) store_pair(base + p * in * out, first[p], second[p]);
        }
    }
}

// image [b][h][w][in], kernel of rar_kernel, offset [out] or null -> result [b][h][w][out].
template <class W>
void convolve(const bf16* image, const bf16* kernel, const float* offset, bf16* result, int64_t pictures,
                  int64_t height, int64_t width, int64_t in, int64_t out) {
    const Shape s{pictures, height, width, W::OUT};
    const int64_t blocks = (s.tiles() + TILES<W> - 1) / TILES<W>;
    const int64_t step = TILES<W> * in + SKEW, apart = TILES<W> * LANES + 16;
#pragma omp parallel
    {
        Scratch<bf16> v(W::POINTS * step), zeros(in);
        Scratch<float> m(W::POINTS * apart);
        std::memset(zeros.at, 0, in * sizeof(bf16));
#pragma omp for
        for (int64_t block = 0; block < blocks; block++) {
            const int64_t first = block * TILES<W>, real = s.tiles() - first < TILES<W> ? s.tiles() - first : TILES<W>;
            const int64_t rows = (real + ROWS - 1) / ROWS * ROWS;
            for (int64_t t = 0; t < rows; t++) {
                const bf16* pixel[W::POINTS];
                places(image, zeros.at, s, in, first + t, W::IN, 1, pixel);
                for (int64_t c = 0; c < in; c += 16) {
                    __m512 u[W::POINTS];
                    transformed_input<W>(pixel, c, u);
                    for (int p = 0; p < W::POINTS; p++) store(v.at + p * step + t * in + c, u[p]);
                }
            }
            for (int64_t k = 0; k < out; k += LANES) {
                for (int p = 0; p < W::POINTS; p++)
                    for (int64_t r = 0; r < rows; r += ROWS)
                        multiply(v.at + p * step + r * in, kernel + p * in * out + k * in,
                                 m.at + p * apart + r * LANES, in);
                for (int64_t t = 0; t < real; t++) {
                    const int64_t tile = first + t, column = tile % s.across(), line = tile / s.across();
                    bf16* at = result + W::OUT * (line * width + column) * out + k;  // pictures lie one below another
                    for (int half = 0; half < LANES; half += 16) {
                        __m512 bias = offset ? _mm512_loadu_ps(offset + k + half) : _mm512_setzero_ps();
                        write_outputs<W>(m.at + t * LANES + half, apart, bias, at + half, out, width * out);
                    }
                }
            }
        }
    }
}

}  // namespace

extern "C" {

void rar_kernel(const float* weight, bf16* kernel, int64_t in, int64_t out, int64_t back, int64_t wide) {
    (wide ? kernel_of<Four> : kernel_of<Two>)(weight, kernel, in, out, back);
}

void rar_convolve(const bf16* image, const bf16* kernel, const float* offset, bf16* result, int64_t pictures,
                  int64_t height, int64_t width, int64_t in, int64_t out, int64_t wide) {
    (wide ? convolve<Four> : convolve<Two>)(image, kernel, offset, result, pictures, height, width, in, out);
}
}
