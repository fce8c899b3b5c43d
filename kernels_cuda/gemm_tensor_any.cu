/* Product on tensor cores (sm_80) of operands with any strides, with a prologue: a thread reads the next tile's elements
 * into registers while the block multiplies this one.  Both tiles lie with their rows along the depth.
 *
 * Limit: a 64 x 64 x 32 tile is 128 clocks of an A100's tensor cores, and 32 to 64 loads of each of its 128 threads,
 * which an SM starts at one warp's a clock: 128 to 256 clocks.  So loads bound it, at half of the other kernel's speed
 * or less; it is for what that cannot read. */
#define B_ALONG_N 0
#define ROUNDED 1
#include "tensor_cores.cuh"
#include "tensor_tile.cuh"
#include "gemm_tensor.cuh"
#include "gemm_tensor_warp.cuh"

#define WORD_ELEMENTS (4 / TA_bytes)
#define WORDS (BK / WORD_ELEMENTS) /* 4-byte words of a row */
#define BUFFER_BYTES (A_TILE_BYTES + B_TILE_BYTES)
#define HELD(ROWS) ((ROWS * WORDS + THREADS - 1) / THREADS)

/* Word i of this thread: threads go along the depth or along the rows, as memory does. */
template <int ROWS> FN void place_of(int i, int thread, bool along_depth, int *row, int *word) {
    const int u = i * THREADS + thread;
    *row = along_depth ? u / WORDS : u % ROWS;
    *word = along_depth ? u % WORDS : u / ROWS;
}
template <int ROWS, class F> FN void fetch(uint *held, int thread, bool along_depth, F element) {
    UNROLL for (int i = 0; i < HELD(ROWS); i++) {
        int row, word;
        place_of<ROWS>(i, thread, along_depth, &row, &word);
#if TA_bytes == 4
        held[i] = float_to_tf32(element(row, word));
#else
        held[i] = PACK(TA)(element(row, 2 * word), element(row, 2 * word + 1));
#endif
    }
}
template <int ROWS> FN void put(uchar *tile, const uint *held, int thread, bool along_depth) {
    UNROLL for (int i = 0; i < HELD(ROWS); i++) {
        int row, word;
        place_of<ROWS>(i, thread, along_depth, &row, &word);
        if (ROWS * WORDS % THREADS == 0 || i * THREADS + thread < ROWS * WORDS)
            ((uint *)tile)[tile_unit<DEPTH_UNITS>(row, word / 4) * 4 + word % 4] = held[i];
    }
}

KERNEL_ENTRY {
    DYNAMIC_SHARED(shared);
    const int thread = local_id(0), lane = thread & 31, warp = thread >> 5;
    const int row = warp % WM * WARP_ROWS, column = warp / WM * WARP_COLUMNS;
    const int tiles_m = (M + BM - 1) / BM, tiles_n = (N + BN - 1) / BN, depth = (K + BK - 1) / BK;
    const int batch = group_id(0) / (tiles_m * tiles_n), i0 = batch / nb1, i1 = batch - i0 * nb1;
    int tile_m, tile_n;
    tile_of(group_id(0) - batch * tiles_m * tiles_n, tiles_m, tiles_n, &tile_m, &tile_n);
    const int m0 = tile_m * BM, n0 = tile_n * BN;
    const int a_base = a_off + i0 * a_b0 + i1 * a_b1, b_base = b_off + i0 * b_b0 + i1 * b_b1;
    const bool a_along = a_k == 1, b_along = b_k == 1;
    uint held_a[HELD(BM)], held_b[HELD(BN)];

    auto fetch_both = [&](int k0) {
        fetch<BM>(held_a, thread, a_along, [&](int r, int d) -> float {
            const int m = m0 + r, k = k0 + d;
            if (m >= M || k >= K) return 0.0f;
            return PROLOGUE(TA_load(a, a_base + m * a_m + k * a_k), batch, m, k);
        });
        fetch<BN>(held_b, thread, b_along, [&](int r, int d) -> float {
            const int n = n0 + r, k = k0 + d;
            return n < N && k < K ? TB_load(b, b_base + n * b_n + k * b_k) : 0.0f;
        });
    };
    float sums[MT][NT][4] = {};
    if (depth > 0) fetch_both(0);
    for (int t = 0; t < depth; t++) {
        uchar *ta = shared + (t & 1) * BUFFER_BYTES, *tb = ta + A_TILE_BYTES;
        put<BM>(ta, held_a, thread, a_along);
        put<BN>(tb, held_b, thread, b_along);
        local_barrier(); /* the other buffer's readers are through with it as well */
        if (t + 1 < depth) fetch_both((t + 1) * BK);
        multiply_tiles(sums, ta, tb, row, column, lane);
    }
    local_barrier(); /* nobody reads tiles any more: their memory now holds sums */
    const bool aligned = ((c_off | c_b0 | c_b1 | c_m) & (16 / TC_bytes - 1)) == 0;
    store_sums(c + (c_off + i0 * c_b0 + i1 * c_b1), shared, sums, m0 + row, n0 + column, M, N, c_m, aligned, warp, lane,
               [&](float v, int m, int n) { return EPILOGUE(v, batch, m, n); });
}
