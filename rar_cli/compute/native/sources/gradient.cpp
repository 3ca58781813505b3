// 3x3 convolutions of training: the gradient of the weight.

#include "winograd.h"

namespace {

constexpr int DEPTH = 128;  // tiles of a block, at most
constexpr int HEIGHT = 8;   // input channels of a micro-kernel

// The gradient of a tile's outputs, 16 channels: A dy A^T.
template <class W> inline void transformed_gradient(const bf16* const* pixel, int64_t channel, __m512* v) {
    __m512 x[W::OUT * W::OUT], t[W::IN * W::OUT];
    for (int i = 0; i < W::OUT * W::OUT; i++) x[i] = load(pixel[i] + channel);
    for (int i = 0; i < W::OUT; i++) W::output_back(x + i, W::OUT, t + i, W::OUT);
    for (int i = 0; i < W::IN; i++) W::output_back(t + i * W::OUT, 1, v + i * W::IN, 1);
}

// Sums of dU[point][channel][lane] over the tiles of a block, HEIGHT channels and LANES lanes.
inline void accumulate(const bf16* inputs, const bf16* gradients, float* sums, int64_t tiles, int64_t in, int64_t out) {
    __m512 sum[HEIGHT][2];
    for (int r = 0; r < HEIGHT; r++) {
        sum[r][0] = _mm512_loadu_ps(sums + r * out), sum[r][1] = _mm512_loadu_ps(sums + r * out + 16);
    }
    for (int64_t t = 0; t < tiles; t += 2) {
        __m512i first = _mm512_loadu_si512(gradients + t * out), second = _mm512_loadu_si512(gradients + t * out + 32);
#pragma GCC unroll 8
        for (int r = 0; r < HEIGHT; r++) {
            sum[r][0] = dot(sum[r][0], inputs + t * in + 2 * r, first);
            sum[r][1] = dot(sum[r][1], inputs + t * in + 2 * r, second);
        }
    }
    for (int r = 0; r < HEIGHT; r++) {
        _mm512_storeu_ps(sums + r * out, sum[r][0]), _mm512_storeu_ps(sums + r * out + 16, sum[r][1]);
    }
}

// Adds the sums of all threads to those of the first, in their order: the same bits every time.
void add_up(float* sums, int64_t count, int64_t threads) {
#pragma omp parallel for
    for (int64_t i = 0; i < count; i += 16) {
        __m512 sum = _mm512_load_ps(sums + i);
        for (int64_t thread = 1; thread < threads; thread++) sum += _mm512_load_ps(sums + thread * count + i);
        _mm512_store_ps(sums + i, sum);
    }
}

// G^T dU G: sums [point][in][out] -> result [out][3][3][in].
template <class W> void transform_back(const float* sums, float* result, int64_t in, int64_t out) {
#pragma omp parallel for
    for (int64_t k = 0; k < out; k += 16) {
        for (int64_t c = 0; c < in; c++) {
            __m512 u[W::POINTS], t[3 * W::IN], g[9];
            for (int p = 0; p < W::POINTS; p++) u[p] = _mm512_loadu_ps(sums + (p * in + c) * out + k);
            for (int x = 0; x < W::IN; x++) W::weight_back(u + x, W::IN, t + x, W::IN);
            for (int y = 0; y < 3; y++) W::weight_back(t + y * W::IN, 1, g + 3 * y, 1);
            for (int n = 0; n < 9; n++)
                for (int i = 0; i < 16; i++) result[((k + i) * 9 + n) * in + c] = g[n][i];
        }
    }
}

template <class W>
void weight_gradient(const bf16* image, const bf16* gradient, float* result, int64_t pictures, int64_t height,
                     int64_t width, int64_t in, int64_t out) {
    const Shape s{pictures, height, width, W::OUT};
    const int64_t threads = omp_get_max_threads(), count = W::POINTS * in * out;
    const int64_t share = (s.tiles() + threads - 1) / threads, depth = share < DEPTH ? share + share % 2 : DEPTH;
    const int64_t blocks = (s.tiles() + depth - 1) / depth, step = depth * in + SKEW, apart = depth * out + SKEW;
    Scratch<float> all(threads * count);
    std::memset(all.at, 0, threads * count * sizeof(float));
#pragma omp parallel num_threads(threads)
    {
        Scratch<bf16> v(W::POINTS * step), d(W::POINTS * apart), zeros(in > out ? in : out);
        float* const own = all.at + omp_get_thread_num() * count;
        std::memset(zeros.at, 0, (in > out ? in : out) * sizeof(bf16));
#pragma omp for schedule(static)
        for (int64_t block = 0; block < blocks; block++) {
            const int64_t first = block * depth, real = s.tiles() - first < depth ? s.tiles() - first : depth;
            for (int64_t t = 0; t < real; t += 2) {
                const bf16 *one[W::POINTS], *two[W::POINTS];
                __m512 a[W::POINTS], b[W::POINTS];
                places(image, zeros.at, s, in, first + t, W::IN, 1, one);
                places(image, zeros.at, s, in, first + t + 1, W::IN, 1, two);
                for (int64_t c = 0; c < in; c += 16) {
                    transformed_input<W>(one, c, a), transformed_input<W>(two, c, b);
                    for (int p = 0; p < W::POINTS; p++) store_pair(v.at + p * step + t * in + 2 * c, a[p], b[p]);
                }
                places(gradient, zeros.at, s, out, first + t, W::OUT, 0, one);
                places(gradient, zeros.at, s, out, first + t + 1, W::OUT, 0, two);
                for (int64_t k = 0; k < out; k += 16) {
                    transformed_gradient<W>(one, k, a), transformed_gradient<W>(two, k, b);
                    for (int p = 0; p < W::POINTS; p++) store_pair(d.at + p * apart + t * out + 2 * k, a[p], b[p]);
                }
            }
            for (int p = 0; p < W::POINTS; p++)
                for (int64_t k = 0; k < out; k += LANES)
                    for (int64_t c = 0; c < in; c += HEIGHT)
                        accumulate(v.at + p * step + 2 * c, d.at + p * apart + 2 * k,
                                   own + (p * in + c) * out + k, real, in, out);
        }
    }
    add_up(all.at, count, threads);
    transform_back<W>(all.at, result, in, out);
}

}  // namespace

extern "C" {

// image [b][h][w][in], gradient of the result [b][h][w][out] -> gradient of the weight [out][3][3][in], float32.
void rar_weight_gradient(const bf16* image, const bf16* gradient, float* result, int64_t pictures, int64_t height,
                         int64_t width, int64_t in, int64_t out, int64_t wide) {
    (wide ? weight_gradient<Four> : weight_gradient<Two>)(image, gradient, result, pictures, height, width, in, out);
}
}
