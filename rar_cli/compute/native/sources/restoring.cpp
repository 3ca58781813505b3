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

template <class T> void layer(const Layer& l, const T* image, T* result, int64_t threads) {
    Convolution<T> own{l, all_rows(image, l, l.in), {}, all_rows(result, l, l.out), Kernel(l)};
#pragma omp parallel num_threads(threads)
    {
        typename Convolution<T>::Room room(l);
#pragma omp for
        for (int64_t k = 0; k < l.out; k += LANES) own.kernel.prepare(l, k);
#pragma omp for schedule(dynamic)
        for (int64_t block = 0; block < l.blocks(); block++) own.block(block, room);
    }
}

// x + gate second(choice silu(first(norm(x)))). Both layers go down the picture together, so that what lies between
// them stays in the cache: a block of the first, then one of the second as far behind as it has to be.
template <class T>
void residual(Layer begin, const Layer& end, const T* image, T* result, int64_t threads) {
    const int64_t blocks = begin.blocks(), needed = 1 + begin.across() / TILES;  // blocks ahead of a block
    const Turns turns{blocks, needed, 3, needed + threads};
    const int64_t held = OUT * (turns.apart() * TILES / begin.across() + 4), rows = begin.pictures * begin.height;
    Scratch<float> stats(2 * rows * begin.width);
    Scratch<T> inner((held < rows ? held : rows) * begin.width * begin.out);
    begin.stats = stats.at;
    const Rows<T> between{inner.at, held < rows ? held : rows, begin.width * begin.out};
    const Rows<const T> read{between.at, between.held, between.length}, x = all_rows(image, begin, begin.in);
    Convolution<T> first{begin, x, {}, between, Kernel(begin)};
    Convolution<T> second{end, read, x, all_rows(result, end, end.out), Kernel(end)};
    Done done(turns);
#pragma omp parallel num_threads(threads)
    {
        typename Convolution<T>::Room room(begin);
        Done::Seen seen(done);
#pragma omp for
        for (int64_t k = 0; k < begin.out; k += LANES) {
            first.kernel.prepare(begin, k);
            second.kernel.prepare(end, k);
        }
#pragma omp for schedule(monotonic : dynamic, 1)
        for (int64_t turn = 0; turn < turns.count(); turn++) {
            const int64_t stage = turns.stage(turn), block = turns.block(turn);
            if (block < 0 || block >= blocks) continue;
            if (stage > 0) seen.wait(stage - 1, block + needed);
            if (stage == 1) seen.wait(2, block - turns.apart());  // its rows take the place of older ones
            if (stage == 0) {
                for (int64_t t = block * TILES; t < (block + 1) * TILES && t < begin.tiles(); t++) {
                    const Place at = place_of(begin, t);
                    for (int64_t y = at.y; y < at.y + OUT && y < begin.height; y++) {
                        const int64_t row = at.picture * begin.height + y, columns = begin.width - at.x;
                        measure(x.row(row) + at.x * begin.in, stats.at + 2 * (row * begin.width + at.x),
                                columns < OUT ? columns : OUT, begin.in);
                    }
                }
            } else {
                (stage == 1 ? first : second).block(block, room);
            }
            done.set(stage, block);
        }
    }
}

}  // namespace

extern "C" {

// One layer: image [pictures][height][width][in] -> result [pictures][height][width][out].
void rar_layer(const void* image, const float* weight, const float* offset, void* result, int64_t pictures,
               int64_t height, int64_t width, int64_t in, int64_t out, int64_t half, int64_t threads) {
    const Layer l{nullptr, nullptr, nullptr, weight, offset, nullptr, pictures, height, width, in, out, PLAIN};
#ifdef __AVX512BF16__
    if (half) return layer(l, static_cast<const bf16*>(image), static_cast<bf16*>(result), threads);
#endif
    layer(l, static_cast<const float*>(image), static_cast<float*>(result), threads);
}

// One residual block of `channels`; scale, shift, choice (or null) and gate: (pictures, channels).
void rar_residual(const void* image, const float* scale, const float* shift, const float* choice, const float* gate,
                  const float* first, const float* first_offset, const float* second, const float* second_offset,
                  void* result, int64_t pictures, int64_t height, int64_t width, int64_t channels, int64_t half,
                  int64_t threads) {
    const Layer begin{nullptr, scale, shift, first, first_offset, choice, pictures, height, width, channels, channels,
                      ACTIVE};
    const Layer end{nullptr, nullptr, nullptr, second, second_offset, gate, pictures, height, width, channels, channels,
                    GATED};
#ifdef __AVX512BF16__
    if (half)
        return residual(begin, end, static_cast<const bf16*>(image), static_cast<bf16*>(result), threads);
#endif
    residual(begin, end, static_cast<const float*>(image), static_cast<float*>(result), threads);
}
}
