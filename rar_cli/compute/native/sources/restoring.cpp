// Layers and residual blocks of restoring. What they compute does not depend on the number of threads.

#include "products.h"
#include "turns.h"

namespace {

// One layer over rows of features, block by block of its tiles.
template <class T> struct Convolution {
    Layer l;
    Rows<const T> image, beside;
    Rows<T> result;
    Kernel kernel;

    struct Room {
        Inputs inputs;
        int64_t apart;
        Scratch<float> m;
        explicit Room(const Layer& l) : inputs(l), apart(TILES * l.out + SKEW), m(POINTS * apart) {}
    };

    // A block is transformed, multiplied and turned back while it lies in a core's cache.
    void block(int64_t number, Room& room) const {
        const int64_t first = number * TILES, real = l.tiles() - first < TILES ? l.tiles() - first : TILES;
        Place places[TILES];
        for (int64_t t = 0; t < real; t++) {
            places[t] = place_of(l, first + t);
            room.inputs.read(l, image, places[t], t);
        }
        multiply_all(l, room.inputs, kernel, room.m.at, room.apart, real, [&](int point) {
            if (point < real) fetch(l, result, places[point]);
        });
        for (int64_t t = 0; t < real; t++)
            for (int64_t k = 0; k < l.out; k += LANES) {
                const int64_t begin = k / WIDE * WIDE;
                const float* m = room.m.at + begin * TILES + t * l.lanes(k) + k - begin;
                write(l, m, room.apart, places[t], k, beside, result);
            }
    }
};

template <class T> Rows<T> all_rows(T* at, const Layer& l, int64_t channels) {
    return {at, l.pictures * l.height, l.width * channels};
}

template <class T> void layer(const Layer& l, const T* image, const int32_t* kernel, T* result, int64_t threads) {
    const Convolution<T> own{l, all_rows(image, l, l.in), {}, all_rows(result, l, l.out), Kernel(l, kernel)};
#pragma omp parallel num_threads(threads)
    {
        typename Convolution<T>::Room room(l);
#pragma omp for schedule(dynamic)
        for (int64_t block = 0; block < l.blocks(); block++) own.block(block, room);
    }
}

template <class T> void measure_block(const Layer& l, const Rows<const T>& image, int64_t block, float* stats) {
    for (int64_t t = block * TILES; t < (block + 1) * TILES && t < l.tiles(); t++) {
        const Place at = place_of(l, t);
        const int64_t columns = l.width - at.x < OUT ? l.width - at.x : OUT;
        for (int64_t y = at.y; y < at.y + OUT && y < l.height; y++) {
            const int64_t row = at.picture * l.height + y;
            measure(image.row(row) + at.x * l.in, stats + 2 * (row * l.width + at.x), columns, l.in);
        }
    }
}

// x + gate second(choice silu(first(norm(x)))). The norm and both layers go down the picture together, so that what
// lies between them stays in the cache: a block of the norm, one of the first layer, one of the second.
template <class T>
void residual(Layer begin, const Layer& end, const T* image, const int32_t* begin_kernel, const int32_t* end_kernel,
              T* result, int64_t threads) {
    const int64_t needed = 1 + begin.across() / TILES;  // blocks that must be done ahead of one of the next stage
    const Turns turns{begin.blocks(), 3, needed + threads};
    const int64_t rows = begin.pictures * begin.height, span = OUT * (turns.apart() * TILES / begin.across() + 4);
    const int64_t held = span < rows ? span : rows, length = begin.width * begin.out;
    Scratch<float> stats(2 * rows * begin.width);
    Scratch<T> inner(held * length);
    begin.stats = stats.at;
    const Rows<const T> x = all_rows(image, begin, begin.in);
    const Convolution<T> first{begin, x, {}, {inner.at, held, length}, Kernel(begin, begin_kernel)};
    const Convolution<T> second{end, {inner.at, held, length}, x, all_rows(result, end, end.out),
                                Kernel(end, end_kernel)};
    Done done(turns);
#pragma omp parallel num_threads(threads)
    {
        typename Convolution<T>::Room room(begin);
        Done::Seen seen(done);
#pragma omp for schedule(monotonic : dynamic, 1)
        for (int64_t turn = 0; turn < turns.count(); turn++) {
            const int64_t stage = turns.stage(turn), block = turns.block(turn);
            if (block < 0 || block >= turns.blocks) continue;
            if (stage > 0) seen.wait(stage - 1, block + needed);
            if (stage == 1) seen.wait(2, block - turns.apart());  // its rows take the place of older ones
            if (stage == 0) measure_block(begin, x, block, stats.at);
            else (stage == 1 ? first : second).block(block, room);
            done.set(stage, block);
        }
    }
}

}  // namespace

extern "C" {

// weight [out / 16][in][3][3][16] -> kernel, 36 * out * ((in + 31) / 32 * 16 + 1) numbers at most.
void rar_prepare(const float* weight, int32_t* kernel, int64_t in, int64_t out, int64_t threads) {
    const Layer l{nullptr, nullptr, nullptr, nullptr, nullptr, 1, OUT, OUT, in, out, PLAIN};
    float* sizes = reinterpret_cast<float*>(kernel + POINTS * pairs(l) * out);
#pragma omp parallel for num_threads(threads)
    for (int64_t k = 0; k < out; k += LANES) prepare(l, weight, k, kernel, sizes);
}

// One layer: image [pictures][height][width][in] -> result [pictures][height][width][out].
void rar_layer(const void* image, const int32_t* kernel, const float* offset, void* result, int64_t pictures,
               int64_t height, int64_t width, int64_t in, int64_t out, int64_t half, int64_t threads) {
    const Layer l{nullptr, nullptr, nullptr, offset, nullptr, pictures, height, width, in, out, PLAIN};
#ifdef __AVX512BF16__
    if (half) return layer(l, static_cast<const bf16*>(image), kernel, static_cast<bf16*>(result), threads);
#endif
    layer(l, static_cast<const float*>(image), kernel, static_cast<float*>(result), threads);
}

// One residual block of `channels`; scale, shift, choice (or null) and gate: (pictures, channels).
void rar_residual(const void* image, const float* scale, const float* shift, const float* choice, const float* gate,
                  const int32_t* first, const float* first_offset, const int32_t* second, const float* second_offset,
                  void* result, int64_t pictures, int64_t height, int64_t width, int64_t channels, int64_t half,
                  int64_t threads) {
    const Layer begin{nullptr, scale, shift, first_offset, choice, pictures, height, width, channels, channels, ACTIVE};
    const Layer end{nullptr, nullptr, nullptr, second_offset, gate, pictures, height, width, channels, channels, GATED};
#ifdef __AVX512BF16__
    if (half)
        return residual(begin, end, static_cast<const bf16*>(image), first, second, static_cast<bf16*>(result),
                        threads);
#endif
    residual(begin, end, static_cast<const float*>(image), first, second, static_cast<float*>(result), threads);
}
}
