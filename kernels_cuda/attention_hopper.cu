#include "tensor_cores.cuh"
#include "tensor_tile.cuh"
#include "hopper.cuh"
#include "attention_online.cuh"
#include "attention_copy.cuh"
/* FlashAttention-3 (Shah et al. 2024) with wgmma: CONSUMERS warpgroups of 64 queries each, and one whose first thread has
 * the copy engine bring tiles of K and V, STAGES of each.  A warpgroup issues the scores of a tile together with the
 * product of the weights before it with their values, and makes the new weights while that product goes on.
 *
 * Tiles lie in parts of 64 columns, rows of 128 bytes, in 128-byte swizzle; what is outside the tensors arrives as 0.
 *
 * What bounds it, in clocks of an SM for 64 queries x 128 keys (H100: 4096 flops, 16 exponentials, 128 float operations
 * and 128 bytes of shared memory in a clock): products 8 MAX_D, so 1024 at 128 and 512 at 64; exponentials 512; maximum,
 * scaling and sum about 256; shared memory 6 MAX_D.  So heads of 64 need products and exponentials at once to come near
 * half of the peak.  Registers: MAX_D / 2 for results, KEYS / 2 for scores, KEYS / 4 for weights. */
#define QUERIES (64 * CONSUMERS)
#define PARTS ((MAX_D + 63) / 64)
#define Q_PART (QUERIES * 128)
#define K_PART (KEYS * 128)
#define TILE_BYTES (K_PART * PARTS)

/* every warp says that it has read a tile */
#define RELEASE(bar)                                                                                                  \
    if (lane == 0) mbarrier_arrive(bar)

KERNEL_ENTRY {
    DYNAMIC_SHARED(tiles);
    uchar *const q_tile = tiles;
    uchar *const k_tiles = q_tile + Q_PART * PARTS;
    uchar *const v_tiles = k_tiles + TILE_BYTES * STAGES;
    ulong *const q_full = (ulong *)(v_tiles + TILE_BYTES * STAGES);
    ulong *const k_full = q_full + 1, *const k_free = k_full + STAGES;
    ulong *const v_full = k_free + STAGES, *const v_free = v_full + STAGES;
    T **const results = (T **)(v_free + STAGES); /* of s0; wanted at the end, so that it need not have registers */
    int *const queries = (int *)(results + 1);   /* from s0 on, maybe more than the block's */
    const int tid = local_id(0);
    const int blocks = (S + QUERIES - 1) / QUERIES;
    const int s0 = (blocks - 1 - group_id(0) % blocks) * QUERIES; /* causal: the longest first */
    const int h = group_id(0) / blocks % H;
    const int b = group_id(0) / blocks / H;
    const int t_end = attention_visible(min(s0 + QUERIES, S) - 1, T_len, causal, causal_offset);
    const int count = t_end > 0 ? (t_end + KEYS - 1) / KEYS : 0; /* of tiles */

    if (tid == 0) {
        mbarrier_init(q_full, 1);
        for (int i = 0; i < STAGES; i++) {
            mbarrier_init(k_full + i, 1);
            mbarrier_init(v_full + i, 1);
            mbarrier_init(k_free + i, 4 * CONSUMERS);
            mbarrier_init(v_free + i, 4 * CONSUMERS);
        }
        mbarrier_init_fence();
        *results = o + o_off + b * o_b + h * o_h + (long)s0 * o_s;
        *queries = S - s0;
    }
    local_barrier();

    if (tid / 128 == CONSUMERS) {
        registers_fewer<CONSUMERS == 3 ? 32 : 24>();
        if (tid % 128 == 0 && count > 0) {
            const int head = h * HK / H;
            mbarrier_expect(q_full, Q_PART * PARTS);
            for (int p = 0; p < PARTS; p++) tma_load_4d(q_tile + p * Q_PART, &q_map, q_full, p * 64, s0, h, b);
            for (int j = 0; j < count; j++) {
                const int stage = j % STAGES;
                const uint parity = (uint)(j / STAGES & 1) ^ 1u; /* the first waits pass */
                mbarrier_wait(k_free + stage, parity);
                mbarrier_expect(k_full + stage, TILE_BYTES);
                for (int p = 0; p < PARTS; p++)
                    tma_load_4d(k_tiles + stage * TILE_BYTES + p * K_PART, &k_map, k_full + stage, p * 64, j * KEYS, head,
                                b);
                mbarrier_wait(v_free + stage, parity);
                mbarrier_expect(v_full + stage, TILE_BYTES);
                for (int p = 0; p < PARTS; p++)
                    tma_load_4d(v_tiles + stage * TILE_BYTES + p * K_PART, &v_map, v_full + stage, p * 64, j * KEYS, head,
                                b);
            }
        }
    } else {
        registers_more<CONSUMERS == 3 ? 160 : 240>();
        const int lane = tid % 32, group = tid / 128 * 64, own = tid / 32 * 16; /* first rows: warpgroup's, warp's */
        const int s = s0 + own + lane / 4;                                      /* and the thread's query */
        const int t_first = attention_visible(s0 + own, T_len, causal, causal_offset);
        const float factor = SCORE_FACTOR(scale);
        float out[MAX_D / 8][4], score[KEYS / 8][4];
        uint weights[KEYS / 16][4];
        float top[2] = {-A_INF, -A_INF}, sum[2] = {0.0f, 0.0f}, alpha[2];
        UNROLL for (int j = 0; j < MAX_D / 8; j++)
            UNROLL for (int i = 0; i < 4; i++) out[j][i] = 0.0f;

/* score = q k^T of a stage; only started */
#define START_SCORES(stage)                                                                                           \
    wgmma_hold<KEYS / 2>(&score[0][0]);                                                                               \
    wgmma_fence();                                                                                                    \
    UNROLL for (int d = 0; d < MAX_D / 16; d++)                                                                       \
        WGMMA(T)<KEYS>(                                                                                               \
            &score[0][0], wgmma_descriptor(q_tile + d / 4 * Q_PART + group * 128 + d % 4 * 32, 16, 1024, 128),        \
            wgmma_descriptor(k_tiles + (stage)*TILE_BYTES + d / 4 * K_PART + d % 4 * 32, 16, 1024, 128), d > 0);      \
    wgmma_commit();
/* out += weights v of a stage; only started */
#define START_VALUES(stage)                                                                                           \
    wgmma_hold<MAX_D / 2>(&out[0][0]);                                                                                \
    wgmma_fence();                                                                                                    \
    UNROLL for (int j = 0; j < KEYS / 16; j++)                                                                        \
        WGMMA_RA(T)<MAX_D, 1>(                                                                                        \
            &out[0][0], weights[j],                                                                                   \
            wgmma_descriptor(v_tiles + (stage)*TILE_BYTES + j * 2048, K_PART, 1024, 128), true);                      \
    wgmma_commit();
/* scores of a tile, the thread's from key t on, become weights, still as floats */
#define MAKE_WEIGHTS(t)                                                                                               \
    SCORE_TILE(score, KEYS, s, t)                                                                                     \
    if ((t) - lane % 4 * 2 + KEYS > t_first) attention_mask<KEYS>(score, s, t, T_len, causal, causal_offset);         \
    attention_weights<KEYS>(score, top, sum, alpha, factor);

        if (count > 0) {
            int t = lane % 4 * 2, before = 0; /* the thread's first key of a tile, the stage of the tile before */
            mbarrier_wait(q_full, 0);
            mbarrier_wait(k_full, 0);
            START_SCORES(0)
            wgmma_wait<0>();
            wgmma_hold<KEYS / 2>(&score[0][0]);
            RELEASE(k_free);
            MAKE_WEIGHTS(t)
            UNROLL for (int i = 0; i < KEYS / 16; i++) attention_pack(weights[i], score + 2 * i);
            for (int j = 1; j < count; j++) {
                const int stage = j % STAGES;
                mbarrier_wait(k_full + stage, (uint)(j / STAGES & 1));
                START_SCORES(stage)
                mbarrier_wait(v_full + before, (uint)((j - 1) / STAGES & 1));
                START_VALUES(before)
                wgmma_wait<1>();
                wgmma_hold<KEYS / 2>(&score[0][0]);
                RELEASE(k_free + stage);
                t += KEYS;
                MAKE_WEIGHTS(t)
                wgmma_wait<0>();
                wgmma_hold<MAX_D / 2>(&out[0][0]);
                RELEASE(v_free + before);
                UNROLL for (int i = 0; i < MAX_D / 8; i++)
                    UNROLL for (int c = 0; c < 4; c++) out[i][c] *= alpha[c / 2];
                UNROLL for (int i = 0; i < KEYS / 16; i++) attention_pack(weights[i], score + 2 * i);
                before = stage;
            }
            mbarrier_wait(v_full + before, (uint)((count - 1) / STAGES & 1));
            START_VALUES(before)
            wgmma_wait<0>();
            wgmma_hold<MAX_D / 2>(&out[0][0]);
        }

        /* results to rows, through the group's part of q's tile, which the products of all its warps have read */
        named_barrier(1 + tid / 128, 128);
        attention_finish<MAX_D, 8>(q_tile, Q_PART, own, out, sum, lane);
        __syncwarp();
        T *op = *results + (long)own * o_s;
        for (int p = 0; p * 64 < DV; p++)
            store_rows<8>(op + p * 64, o_s, *queries - own, DV - p * 64, q_tile + p * Q_PART, own, 16, lane);
    }
}
