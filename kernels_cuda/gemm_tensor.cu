/* Product on tensor cores (sm_80) whose operands are contiguous in units of 16 bytes: copies that go on by themselves
 * (cp.async) keep STAGES - 1 tiles on their way while one is multiplied.
 *
 * Limit on an A100 (312 Tflop/s, 1.55 TB/s; an SM does 1024 multiply-adds a clock in 16-bit types): a 128 x 128 x 32
 * tile is 512 clocks of tensor cores and 16 KiB, 32 bytes a clock from L2 (it gives about 40 to each SM); two blocks of
 * four warps fit into an SM (64 KiB and 128 threads of up to 255 registers each).  ldmatrix reads 4 KiB of shared memory
 * for 64 x 64 x 16 of a warp: 128 bytes a clock would last for 32 of the 64 clocks that the products take. */
#include "tensor_cores.cuh"
#include "tensor_tile.cuh"
#include "gemm_tensor.cuh"
#include "gemm_tensor_warp.cuh"

#define STAGE_BYTES (A_TILE_BYTES + B_TILE_BYTES)
#if B_ALONG_N && TA_bytes == 4
#define B_UNIT tile_unit_f32_rows<UNITS>
#else
#define B_UNIT tile_unit<UNITS>
#endif

/* Starts copying a tile of ROWS rows of UNITS units, from row `first` of `rows` and element `start` of `length`; what
 * lies beyond becomes zero. */
#define COPY_TILE(name, place)                                                                                        \
    template <int ROWS, int UNITS>                                                                                    \
    FN void name(uchar *tile, const TA *from, int first, int rows, int stride, int start, int length, int thread) {   \
        UNROLL for (int i = 0; i < (ROWS * UNITS + THREADS - 1) / THREADS; i++) {                                     \
            const int u = i * THREADS + thread, row = u / UNITS, unit = u % UNITS;                                    \
            const int at = start + unit * UNIT_ELEMENTS;                                                              \
            if (ROWS * UNITS % THREADS == 0 || u < ROWS * UNITS)                                                      \
                cp_async<16>(tile + place(row, unit) * 16, from + ((first + row) * stride + at),                      \
                             first + row < rows && at < length);                                                      \
        }                                                                                                             \
    }
COPY_TILE(copy_a_tile, tile_unit<UNITS>)
COPY_TILE(copy_b_tile, B_UNIT)

KERNEL_ENTRY {
    DYNAMIC_SHARED(shared);
    const int thread = local_id(0), lane = thread & 31, warp = thread >> 5;
    const int row = warp % WM * WARP_ROWS, column = warp / WM * WARP_COLUMNS;
    const int tiles_m = (M + BM - 1) / BM, tiles_n = (N + BN - 1) / BN, depth = (K + BK - 1) / BK;
    const int batch = group_id(0) / (tiles_m * tiles_n), i0 = batch / nb1, i1 = batch - i0 * nb1;
    int tile_m, tile_n;
    tile_of(group_id(0) - batch * tiles_m * tiles_n, tiles_m, tiles_n, &tile_m, &tile_n);
    const int m0 = tile_m * BM, n0 = tile_n * BN;
    const TA *left = a + (a_off + i0 * a_b0 + i1 * a_b1), *right = b + (b_off + i0 * b_b0 + i1 * b_b1);

    auto copy = [&](int t, int stage) {
        uchar *ta = shared + stage * STAGE_BYTES, *tb = ta + A_TILE_BYTES;
        copy_a_tile<BM, DEPTH_UNITS>(ta, left, m0, M, a_m, t * BK, K, thread);
#if B_ALONG_N
        copy_b_tile<BK, BN / UNIT_ELEMENTS>(tb, right, t * BK, K, b_k, n0, N, thread);
#else
        copy_b_tile<BN, DEPTH_UNITS>(tb, right, n0, N, b_n, t * BK, K, thread);
#endif
    };
    UNROLL for (int t = 0; t < STAGES - 1; t++) {
        if (t < depth) copy(t, t);
        cp_async_commit();
    }
    float sums[MT][NT][4] = {};
    int stage = 0, next = STAGES - 1;
    for (int t = 0; t < depth; t++) {
        cp_async_wait<STAGES - 2>();
        local_barrier(); /* this tile is here for all, and nobody reads the one before, whose place the next takes */
        if (t + STAGES - 1 < depth) copy(t + STAGES - 1, next);
        cp_async_commit();
        const uchar *ta = shared + stage * STAGE_BYTES;
        multiply_tiles(sums, ta, ta + A_TILE_BYTES, row, column, lane);
        stage = stage + 1 == STAGES ? 0 : stage + 1;
        next = next + 1 == STAGES ? 0 : next + 1;
    }
    local_barrier(); /* every tile has come and is read: their memory now holds sums */
    const bool aligned = ((c_off | c_b0 | c_b1 | c_m) & (16 / TC_bytes - 1)) == 0;
    store_sums(c + (c_off + i0 * c_b0 + i1 * c_b1), shared, sums, m0 + row, n0 + column, M, N, c_m, aligned, warp, lane,
               [&](float v, int m, int n) { return EPILOGUE(v, batch, m, n); });
}
