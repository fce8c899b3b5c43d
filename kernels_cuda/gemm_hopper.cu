/* Product on Hopper's tensor cores (sm_90a).  One warpgroup brings tiles into a ring of STAGES by the copy engine; the
 * others, 64 rows of a BM x BN tile each, multiply them by wgmma with the sums in registers.  Blocks stay, and go
 * through the tiles of all products: the next tile's operands arrive while this one's sums are stored.
 *
 * Limit on an H100 SXM (989 Tflop/s, 132 SMs, 3.35 TB/s): an SM does 2048 multiply-adds a clock, so a 128 x 256 x 64
 * tile takes 1024 clocks and 48 KiB: 48 bytes a clock from L2, near the 40 to 60 that it gives each SM, and why a tile
 * is as large as registers allow: 64 x 256 sums are 128 of a thread's 240.  Four stages are 192 KiB of 227.  Operands in
 * shared memory: wgmma reads 64 x 16 of A and 256 x 16 of B, 10 KiB in 128 clocks, of 16 KiB that it could.  A tile of
 * depth 8192 is 131072 clocks; its start and its end are hidden but for the stores of sums, a few thousand.  Expected: 80
 * to 90 % of the peak at the clock the chip then keeps. */
#include "tensor_cores.cuh"
#include "tensor_tile.cuh"
#include "gemm_tensor.cuh"
#include "hopper.cuh"
#include "ring.cuh"

#define BK 64 /* 128 bytes: one row of the swizzle */
#define GROUPS_OF_ROWS (BM / 64)
#define CONSUMERS (128 * GROUPS_OF_ROWS)
#define A_TILE_BYTES (BM * 128)
#define B_TILE_BYTES (BN * 128)
#define STAGE_BYTES (A_TILE_BYTES + B_TILE_BYTES)
#define STAGE_COLUMNS 32
#define ROWS_AT (STAGES * STAGE_BYTES)
#define BARRIERS_AT (ROWS_AT + CONSUMERS / 32 * RowStage<STAGE_COLUMNS>::BYTES)
#define MOVE_REGISTERS (BM == 128) /* 168 for each thread are too few to multiply, 24 enough to copy */

KERNEL_ENTRY {
    DYNAMIC_SHARED(shared);
    ulong *full = (ulong *)(shared + BARRIERS_AT), *empty = full + STAGES;
    const int thread = local_id(0), lane = thread & 31, warp = thread >> 5;
    const int tiles_m = (M + BM - 1) / BM, tiles_n = (N + BN - 1) / BN, depth = (K + BK - 1) / BK;
    const int tiles = tiles_m * tiles_n, total = tiles * nb0 * nb1;
    if (thread == 0) {
        for (int s = 0; s < STAGES; s++) {
            mbarrier_init(full + s, 1);
            mbarrier_init(empty + s, CONSUMERS / 32);
        }
        mbarrier_init_fence();
    }
    local_barrier();
    RingPlace<STAGES> at = {0, 0};
    if (thread >= CONSUMERS) {
#if MOVE_REGISTERS
        registers_fewer<24>();
#endif
        if (thread != CONSUMERS) return;
        tma_prefetch(&a_map);
        tma_prefetch(&b_map);
        for (int tile = group_id(0); tile < total; tile += GROUPS) {
            const int batch = tile / tiles, i0 = batch / nb1, i1 = batch - i0 * nb1;
            const int a1 = a_b1 ? i1 : 0, a0 = a_b0 ? i0 : 0, b1 = b_b1 ? i1 : 0, b0 = b_b0 ? i0 : 0;
            int tile_m, tile_n;
            tile_of(tile - batch * tiles, tiles_m, tiles_n, &tile_m, &tile_n);
            for (int t = 0; t < depth; t++) {
                uchar *ta = shared + at.stage * STAGE_BYTES, *tb = ta + A_TILE_BYTES;
                mbarrier_wait(empty + at.stage, at.parity ^ 1u);
                mbarrier_expect(full + at.stage, STAGE_BYTES); /* zeros beyond the edges count as well */
                tma_load_4d(ta, &a_map, full + at.stage, t * BK, tile_m * BM, a1, a0);
#if B_ALONG_N
                for (int j = 0; j < BN / 64; j++)
                    tma_load_4d(tb + j * 64 * 128, &b_map, full + at.stage, tile_n * BN + j * 64, t * BK, b1, b0);
#else
                tma_load_4d(tb, &b_map, full + at.stage, t * BK, tile_n * BN, b1, b0);
#endif
                at.advance();
            }
        }
        return;
    }
#if MOVE_REGISTERS
    registers_more<240>();
#endif
    const int group = thread / 128;
    float *stage = (float *)(shared + ROWS_AT + warp * RowStage<STAGE_COLUMNS>::BYTES);
    const bool aligned = ((c_off | c_b0 | c_b1 | c_m) & (16 / TC_bytes - 1)) == 0;
    for (int tile = group_id(0); tile < total; tile += GROUPS) {
        const int batch = tile / tiles, i0 = batch / nb1, i1 = batch - i0 * nb1;
        int tile_m, tile_n;
        tile_of(tile - batch * tiles, tiles_m, tiles_n, &tile_m, &tile_n);
        float sums[BN / 2];
        int last = 0;
        for (int t = 0; t < depth; t++) {
            const uchar *ta = shared + at.stage * STAGE_BYTES + group * 64 * 128;
            const uchar *tb = shared + at.stage * STAGE_BYTES + A_TILE_BYTES;
            mbarrier_wait(full + at.stage, at.parity);
            wgmma_fence();
            UNROLL for (int step = 0; step < 4; step++) {
                const ulong da = wgmma_descriptor(ta + step * 32, 16, 1024, 128);
#if B_ALONG_N
                const ulong db = wgmma_descriptor(tb + step * 16 * 128, 64 * 128, 1024, 128);
#else
                const ulong db = wgmma_descriptor(tb + step * 32, 16, 1024, 128);
#endif
                WGMMA(TA)<BN, B_ALONG_N>(sums, da, db, t + step > 0);
            }
            wgmma_commit();
            wgmma_wait<1>(); /* the step before is done with its stage */
            __syncwarp();
            if (t > 0 && lane == 0) mbarrier_arrive(empty + last);
            last = at.stage;
            at.advance();
        }
        wgmma_wait<0>();
        wgmma_hold<BN / 2>(sums);
        __syncwarp();
        if (lane == 0) mbarrier_arrive(empty + last);
        GPTR(TC) to = c + (c_off + i0 * c_b0 + i1 * c_b1);
        UNROLL for (int j = 0; j < BN; j += STAGE_COLUMNS)
            store_rows<STAGE_COLUMNS>(to, stage, (const float(*)[4])(sums + j / 2), tile_m * BM + warp * 16,
                                      tile_n * BN + j, M, N, c_m, aligned, lane,
                                      [&](float v, int m, int n) { return EPILOGUE(v, batch, m, n); });
    }
}
