/* ldmatrix and mma.sync with PTX's layouts, each a meeting of the 32 lanes of a warp. */
#pragma once

namespace cuda_host {

typedef float float8 __attribute__((vector_size(32)));

inline float f16_value(unsigned bits) {
    /* the exponent moves to float's place; scaling by 2^112 mends its bias, for subnormals too */
    const float f = __uint_as_float((bits & 0x7fffu) << 13) * 0x1p112f;
    const unsigned special = (bits & 0x7c00u) == 0x7c00u ? 0x7f800000u : 0;
    return __uint_as_float(__float_as_uint(f) | special | (bits & 0x8000u) << 16);
}
inline float bf16_value(unsigned bits) { return __uint_as_float(bits << 16); }
inline float tf32_value(unsigned bits) { return __uint_as_float(bits & 0xffffe000u); }

/* ---- ldmatrix, stmatrix: rows[8 * m + r] is where row r of matrix m lies; a lane has two neighbours of its row ---- */
inline void load_matrices(unsigned *r, const void *row, unsigned count, bool transposed, const char *what, int line) {
    Fiber &self = fibers[current];
    self.in[0] = row;
    self.out = r;
    if (current % 32 < 8 * count) check_shared(row, 16, 16, what, line);
    together(what, line, [=](unsigned first) {
        for (unsigned m = 0; m < count; m++) {
            unsigned short matrix[8][8];
            for (unsigned i = 0; i < 8; i++) __builtin_memcpy(matrix[i], fibers[first + 8 * m + i].in[0], 16);
            for (unsigned lane = 0; lane < 32; lane++) {
                const unsigned g = lane / 4, t = lane % 4 * 2;
                const unsigned low = transposed ? matrix[t][g] : matrix[g][t];
                const unsigned high = transposed ? matrix[t + 1][g] : matrix[g][t + 1];
                ((unsigned *)fibers[first + lane].out)[m] = low | high << 16;
            }
        }
    });
}
inline void store_matrices(void *row, const unsigned *r, unsigned count, const char *what, int line) {
    Fiber &self = fibers[current];
    self.in[0] = r;
    self.out = row;
    if (current % 32 < 8 * count) check_shared(row, 16, 16, what, line);
    together(what, line, [=](unsigned first) {
        for (unsigned m = 0; m < count; m++)
            for (unsigned lane = 0; lane < 32; lane++)
                __builtin_memcpy((unsigned char *)fibers[first + 8 * m + lane / 4].out + lane % 4 * 4,
                                 (const unsigned *)fibers[first + lane].in[0] + m, 4);
    });
}

/* ---- mma: c += a x b for 16 x 8 elements; sums run over k in order, in float ---- */
struct Tile {
    float a[16][16];
    float8 b[16];
};
inline void multiply(const Tile &tile, unsigned depth, unsigned first) {
    for (unsigned i = 0; i < 16; i++) {
        float8 sum;
        for (unsigned j = 0; j < 8; j++)
            sum[j] = ((const float *)fibers[first + i % 8 * 4 + j / 2].out)[i / 8 * 2 + j % 2];
        for (unsigned k = 0; k < depth; k++) sum += tile.a[i][k] * tile.b[k];
        for (unsigned j = 0; j < 8; j++) ((float *)fibers[first + i % 8 * 4 + j / 2].out)[i / 8 * 2 + j % 2] = sum[j];
    }
}
template <class F>
inline void mma_16(float *c, const unsigned *a, const unsigned *b, F value, const char *what, int line) {
    Fiber &self = fibers[current];
    self.in[0] = a;
    self.in[1] = b;
    self.out = c;
    together(what, line, [=](unsigned first) {
        Tile tile;
        for (unsigned lane = 0; lane < 32; lane++) {
            const unsigned g = lane / 4, t = lane % 4 * 2;
            const unsigned *ra = (const unsigned *)fibers[first + lane].in[0];
            const unsigned *rb = (const unsigned *)fibers[first + lane].in[1];
            for (unsigned r = 0; r < 4; r++)
                for (unsigned h = 0; h < 2; h++)
                    tile.a[g + r % 2 * 8][t + r / 2 * 8 + h] = value(ra[r] >> 16 * h & 0xffffu);
            for (unsigned r = 0; r < 2; r++)
                for (unsigned h = 0; h < 2; h++) tile.b[t + r * 8 + h][g] = value(rb[r] >> 16 * h & 0xffffu);
        }
        multiply(tile, 16, first);
    });
}

}  // namespace cuda_host

#define CUDA_HOST_LDMATRIX(count, suffix, transposed)                                                                 \
    inline void ldmatrix_x##count##suffix(unsigned *r, const void *row, int line = __builtin_LINE()) {                \
        cuda_host::load_matrices(r, row, count, transposed, "ldmatrix_x" #count #suffix, line);                       \
    }
CUDA_HOST_LDMATRIX(1, , false) CUDA_HOST_LDMATRIX(2, , false) CUDA_HOST_LDMATRIX(4, , false)
CUDA_HOST_LDMATRIX(1, _trans, true) CUDA_HOST_LDMATRIX(2, _trans, true) CUDA_HOST_LDMATRIX(4, _trans, true)

inline void mma_f16(float *c, const unsigned *a, const unsigned *b, int line = __builtin_LINE()) {
    cuda_host::mma_16(c, a, b, cuda_host::f16_value, "mma_f16", line);
}
inline void mma_bf16(float *c, const unsigned *a, const unsigned *b, int line = __builtin_LINE()) {
    cuda_host::mma_16(c, a, b, cuda_host::bf16_value, "mma_bf16", line);
}
inline void mma_tf32(float *c, const unsigned *a, const unsigned *b, int line = __builtin_LINE()) {
    using namespace cuda_host;
    Fiber &self = fibers[current];
    self.in[0] = a;
    self.in[1] = b;
    self.out = c;
    together("mma_tf32", line, [](unsigned first) {
        Tile tile;
        for (unsigned lane = 0; lane < 32; lane++) {
            const unsigned g = lane / 4, t = lane % 4;
            for (unsigned r = 0; r < 4; r++)
                tile.a[g + r % 2 * 8][t + r / 2 * 4] = tf32_value(((const unsigned *)fibers[first + lane].in[0])[r]);
            for (unsigned r = 0; r < 2; r++)
                tile.b[t + r * 4][g] = tf32_value(((const unsigned *)fibers[first + lane].in[1])[r]);
        }
        multiply(tile, 8, first);
    });
}
