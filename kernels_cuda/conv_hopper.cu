/* Convolution as an implicit matrix product on Hopper's tensor cores (sm_90a).  One warpgroup brings tiles into a ring
 * of STAGES: pixels one by one into the swizzle that wgmma reads, 8 channels at a time with zeros where there is
 * padding, and by the copy engine the panels of weights, 32 columns wide as they are packed.  The others, 64 rows of a
 * tile each, multiply them by wgmma with the sums in registers.  Blocks stay, and go through the tiles of all groups:
 * the next tile's operands arrive while this one's sums are stored.  Limits: a1400/kernels/conv_hopper.py. */
#include "tensor_cores.cuh"
#include "tensor_tile.cuh"
#include "gemm_tensor.cuh"
#include "hopper.cuh"
#include "ring.cuh"
#include "conv_gather.cuh"

#define BK 64 /* 128 bytes: one row of the swizzle */
#define GROUPS_OF_ROWS (BM / 64)
#define CONSUMERS (128 * GROUPS_OF_ROWS)
#define PRODUCERS 128
#define A_TILE_BYTES (BM * 128)
#define B_TILE_BYTES (BN * 128)
#define STAGE_BYTES (A_TILE_BYTES + B_TILE_BYTES)
#define STAGE_COLUMNS 32
#define ROWS_AT (STAGES * STAGE_BYTES)
#define BARRIERS_AT (ROWS_AT + CONSUMERS / 32 * RowStage<STAGE_COLUMNS>::BYTES)
#define MOVE_REGISTERS (BM == 128 && BN == 256) /* 168 for each thread are too few to multiply, 72 enough to copy */
#define COPIES (BM * 8 / PRODUCERS) /* rows of which a thread copies 16 bytes */

KERNEL_ENTRY {
    DYNAMIC_SHARED(shared);
    ulong *full = (ulong *)(shared + BARRIERS_AT), *empty = full + STAGES;
    const int thread = local_id(0), lane = thread & 31, warp = thread >> 5;
    const int cg = C / groups, columns = OC / groups, panels = (columns + 31) / 32;
    const int pixels = OD * OH * OW, depth = KD * KH * KW * cg, steps = (depth + BK - 1) / BK;
    const int tiles_m = (N * pixels + BM - 1) / BM, tiles_n = (columns + BN - 1) / BN, tiles = tiles_m * tiles_n;
    if (thread == 0) {
        for (int s = 0; s < STAGES; s++) {
            mbarrier_init(full + s, PRODUCERS + 1); /* each copying thread, and one for the copy engine's bytes */
            mbarrier_init(empty + s, CONSUMERS / 32);
        }
        mbarrier_init_fence();
    }
    local_barrier();
    RingPlace<STAGES> at = {0, 0};
    if (thread >= CONSUMERS) {
#if MOVE_REGISTERS
        registers_fewer<72>();
#endif
        const int copier = thread - CONSUMERS, first_row = copier / 8, unit = copier % 8;
        if (copier == 0) tma_prefetch(&w_map);
        for (int tile = group_id(0); tile < tiles * groups; tile += GROUPS) {
            const int g = tile / tiles;
            int tile_m, tile_n;
            tile_of(tile - g * tiles, tiles_m, tiles_n, &tile_m, &tile_n);
            const ConvShape shape = CONV_SHAPE(g, cg);
            Pixel mine[COPIES];
            UNROLL for (int i = 0; i < COPIES; i++)
                mine[i] = pixel_of(shape, tile_m * BM + first_row + i * (PRODUCERS / 8));
            DepthPlace place = {};
            go_on(place, shape, unit * 8);
            for (int t = 0; t < steps; t++) {
                uchar *ta = shared + at.stage * STAGE_BYTES;
                mbarrier_wait(empty + at.stage, at.parity ^ 1u);
                if (copier == 0) {
                    mbarrier_expect(full + at.stage, B_TILE_BYTES); /* zeros beyond the edges count as well */
                    tma_load_3d(ta + A_TILE_BYTES, &w_map, full + at.stage, 0, t * BK, g * panels + tile_n * (BN / 32));
                }
                UNROLL for (int i = 0; i < COPIES; i++) {
                    const bool inside = place.k < depth && inside_image(shape, mine[i], place);
                    cp_async<16>(ta + tile_unit<8>(first_row + i * (PRODUCERS / 8), unit) * 16,
                                 x + (inside ? mine[i].element + place.ahead : 0), inside);
                }
                cp_async_mbarrier_arrive(full + at.stage);
                go_on(place, shape, BK);
                at.advance();
            }
        }
        cp_async_commit();
        cp_async_wait<0>(); /* no thread ends before its copies */
        return;
    }
#if MOVE_REGISTERS
    registers_more<216>();
#endif
    const int group = thread / 128;
    float *stage = (float *)(shared + ROWS_AT + warp * RowStage<STAGE_COLUMNS>::BYTES);
    for (int tile = group_id(0); tile < tiles * groups; tile += GROUPS) {
        const int g = tile / tiles;
        int tile_m, tile_n;
        tile_of(tile - g * tiles, tiles_m, tiles_n, &tile_m, &tile_n);
        float sums[BN / 2];
        int last = 0;
        for (int t = 0; t < steps; t++) {
            const uchar *ta = shared + at.stage * STAGE_BYTES + group * 64 * 128;
            const uchar *tb = shared + at.stage * STAGE_BYTES + A_TILE_BYTES;
            mbarrier_wait(full + at.stage, at.parity);
            fence_async_proxy(); /* pixels came by plain writes, which wgmma would not see otherwise */
            wgmma_fence();
            UNROLL for (int step = 0; step < BK / 16; step++)
                WGMMA(TA)<BN, 1>(sums, wgmma_descriptor(ta + step * 32, 16, 1024, 128),
                                 wgmma_descriptor(tb + step * 16 * 64, BK * 64, 512, 64), t + step > 0);
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
        const int channel_0 = g * columns;
        const bool aligned = ((y_off | y_ld | channel_0) & (16 / TC_bytes - 1)) == 0;
        UNROLL for (int j = 0; j < BN; j += STAGE_COLUMNS)
            store_rows<STAGE_COLUMNS>(y + (y_off + channel_0), stage, (const float(*)[4])(sums + j / 2),
                                      tile_m * BM + warp * 16, tile_n * BN + j, N * pixels, columns, y_ld, aligned,
                                      lane,
                                      [&](float v, int m, int n) {
                                          const int image = m / pixels;
                                          return EPILOGUE(v, image, m - image * pixels, channel_0 + n);
                                      });
    }
}
