// 3x3 convolutions of training: the gradient of the weight.

#include "winograd.h"

namespace {

constexpr int POINTS = Two::POINTS;
constexpr int DEPTH = 128;  // tiles of a block
constexpr int HEIGHT = 8;   // input channels of a micro-kernel

// The gradient of a tile's 2x2 outputs, 16 channels: A dy A^T.
inline void transformed_gradient(const bf16* const* pixel, int64_t channel, __m512* v) {
    __m512 t[8];
    for (int x = 0; x < 2; x++) {
        __m512 a = load(pixel[x] + channel), b = load(pixel[2 + x] + channel);
        t[x] = a, t[2 + x] = a + b, t[4 + x] = a - b, t[6 + x] = _mm512_setzero_ps() - b;
    }
    for (int y = 0; y < 4; y++) {
        __m512 a = t[2 * y], b = t[2 * y + 1];
        v[4 * y] = a, v[4 * y + 1] = a + b, v[4 * y + 2] = a - b, v[4 * y + 3] = _mm512_setzero_ps() - b;
    }
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

}  // namespace

extern "C" {

// image [b][h][w][in], gradient of the result [b][h][w][out] -> gradient of the weight [out][3][3][in], float32.
void rar_weight_gradient(const bf16* image, const bf16* gradient, float* result, int64_t pictures, int64_t height,
                         int64_t width, int64_t in, int64_t out) {
    const Shape s{pictures, height, width, Two::OUT};
    const int64_t blocks = (s.tiles() + DEPTH - 1) / DEPTH, step = DEPTH * in + SKEW, apart = DEPTH * out + SKEW;
    const int64_t count = POINTS * in * out, threads = omp_get_max_threads();
    Scratch<float> all(threads * count);  // a sum for each thread, added in their order: the same bits every time
    std::memset(all.at, 0, threads * count * sizeof(float));
    float* const sums = all.at;
#pragma omp parallel num_threads(threads)
    {
        Scratch<bf16> v(POINTS * step), d(POINTS * apart), zeros(in > out ? in : out);
        float* const own = all.at + omp_get_thread_num() * count;
        std::memset(zeros.at, 0, (in > out ? in : out) * sizeof(bf16));
#pragma omp for schedule(static)
        for (int64_t block = 0; block < blocks; block++) {
            const int64_t first = block * DEPTH, real = s.tiles() - first < DEPTH ? s.tiles() - first : DEPTH;
            for (int64_t t = 0; t < real; t += 2) {
                const bf16 *one[16], *two[16];
                __m512 a[POINTS], b[POINTS];
                places(image, zeros.at, s, in, first + t, 4, 1, one);
                places(image, zeros.at, s, in, first + t + 1, 4, 1, two);
                for (int64_t c = 0; c < in; c += 16) {
                    transformed_input<Two>(one, c, a), transformed_input<Two>(two, c, b);
                    for (int p = 0; p < POINTS; p++) store_pair(v.at + p * step + t * in + 2 * c, a[p], b[p]);
                }
                places(gradient, zeros.at, s, out, first + t, 2, 0, one);
                places(gradient, zeros.at, s, out, first + t + 1, 2, 0, two);
                for (int64_t k = 0; k < out; k += 16) {
                    transformed_gradient(one, k, a), transformed_gradient(two, k, b);
                    for (int p = 0; p < POINTS; p++) store_pair(d.at + p * apart + t * out + 2 * k, a[p], b[p]);
                }
            }
            for (int p = 0; p < POINTS; p++)
                for (int64_t k = 0; k < out; k += LANES)
                    for (int64_t c = 0; c < in; c += HEIGHT)
                        accumulate(v.at + p * step + 2 * c, d.at + p * apart + 2 * k,
                                   own + (p * in + c) * out + k, real, in, out);
        }
    }
#pragma omp parallel for
    for (int64_t i = 0; i < count; i += 16) {
        __m512 sum = _mm512_load_ps(sums + i);
        for (int64_t thread = 1; thread < threads; thread++) sum += _mm512_load_ps(sums + thread * count + i);
        _mm512_store_ps(sums + i, sum);
    }
#pragma omp parallel for
    for (int64_t k = 0; k < out; k += 16) {
        for (int64_t c = 0; c < in; c++) {
            const __m512 half = _mm512_set1_ps(0.5f);
            __m512 t[3][4];
            for (int x = 0; x < 4; x++) {
                __m512 u[4];
                for (int y = 0; y < 4; y++) u[y] = _mm512_loadu_ps(sums + ((4 * y + x) * in + c) * out + k);
                t[0][x] = u[0] + half * (u[1] + u[2]), t[1][x] = half * (u[1] - u[2]);
                t[2][x] = half * (u[1] + u[2]) + u[3];
            }
            for (int y = 0; y < 3; y++) {
                __m512 g[3] = {t[y][0] + half * (t[y][1] + t[y][2]), half * (t[y][1] - t[y][2]),
                               half * (t[y][1] + t[y][2]) + t[y][3]};
                for (int x = 0; x < 3; x++)
                    for (int i = 0; i < 16; i++) result[((k + i) * 9 + 3 * y + x) * in + c] = g[x][i];
            }
        }
    }
}
}
