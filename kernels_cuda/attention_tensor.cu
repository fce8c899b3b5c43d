#include "tensor_cores.cuh"
#include "tensor_tile.cuh"
#include "attention_online.cuh"
#include "attention_copy.cuh"
/* FlashAttention-2 (Dao 2023) with mma.m16n8k16: a block takes QUERIES queries of one head, each warp 16 * TILES of them
 * for itself, and walks over the keys KEYS at a time.
 *
 * A tile of K and one of V take turns: while one is multiplied the other is on its way (cp.async), and blocks that share a
 * multiprocessor fill what is left open.  Scores, weights and results stay in registers; a warp's accumulators of
 * q k^T are, two by two, its A fragments of the product with v.
 * Each fragment of K and V serves TILES products: with one, shared memory (128 bytes a clock) keeps pace with an A100's
 * tensor cores and no more. */
#define QUERIES (16 * TILES * WARPS)
#define THREADS (32 * WARPS)
/* 16-byte units of a row in shared memory */
#define UNITS (MAX_D <= 64 ? 8 : (MAX_D <= 128 ? 16 : 32))

KERNEL_ENTRY {
    DYNAMIC_SHARED(tiles);
    uchar *const q_tile = tiles;
    uchar *const k_tile = q_tile + QUERIES * UNITS * 16;
    uchar *const v_tile = k_tile + KEYS * UNITS * 16;
    const int tid = local_id(0), lane = tid % 32, own = tid / 32 * 16 * TILES; /* own: the warp's first row */
    const int blocks = (S + QUERIES - 1) / QUERIES;
    const int s0 = (blocks - 1 - group_id(0) % blocks) * QUERIES; /* causal: the longest first */
    const int h = group_id(0) / blocks % H;
    const int b = group_id(0) / blocks / H;
    const int head = h * HK / H;
    const T *qp = q + q_off + b * q_b + h * q_h + (long)s0 * q_s;
    const T *kp = k + k_off + b * k_b + head * k_h;
    const T *vp = v + v_off + b * v_b + head * v_h;
    const int queries = min(S - s0, QUERIES);
    const int t_end = attention_visible(s0 + queries - 1, T_len, causal, causal_offset);
    /* this warp's own keys: none from t_last on are seen, all before t_first are */
    const int t_last = attention_visible(min(s0 + own + 16 * TILES, S) - 1, T_len, causal, causal_offset);
    const int t_first = attention_visible(s0 + own, T_len, causal, causal_offset);
    const float factor = SCORE_FACTOR(scale);

    float out[TILES][MAX_D / 8][4];
    float top[TILES][2], sum[TILES][2];
    UNROLL for (int m = 0; m < TILES; m++) {
        UNROLL for (int r = 0; r < 2; r++) {
            top[m][r] = -A_INF;
            sum[m][r] = 0.0f;
        }
        UNROLL for (int j = 0; j < MAX_D / 8; j++)
            UNROLL for (int i = 0; i < 4; i++) out[m][j][i] = 0.0f;
    }
#if HOLD_Q
    uint held[TILES][MAX_D / 16][4];
#endif

    if (t_end > 0) {
        const int q_step = copy_step(qp, q_s, D), k_step = copy_step(kp, k_t, D), v_step = copy_step(vp, v_t, DV);
        copy_rows<UNITS, QUERIES, THREADS>(q_tile, qp, q_s, queries, D, q_step, tid);
        copy_rows<UNITS, KEYS, THREADS>(k_tile, kp, k_t, t_end, D, k_step, tid);
        cp_async_commit();
        for (int t0 = 0; t0 < t_end; t0 += KEYS) {
            cp_async_wait<0>();
            local_barrier(); /* K is there, and nobody reads the last V any more */
            copy_rows<UNITS, KEYS, THREADS>(v_tile, vp + (long)t0 * v_t, v_t, t_end - t0, DV, v_step, tid);
            cp_async_commit();
#if HOLD_Q
            if (t0 == 0)
                UNROLL for (int m = 0; m < TILES; m++)
                    UNROLL for (int d = 0; d < MAX_D / 16; d++)
                        fragment_a<UNITS>(held[m][d], q_tile, own + 16 * m, 2 * d, lane);
#endif
            float score[TILES][KEYS / 8][4];
            const bool busy = t0 < t_last && own < queries; /* the same for all threads of a warp */
            if (busy) {
                UNROLL for (int m = 0; m < TILES; m++)
                    UNROLL for (int j = 0; j < KEYS / 8; j++)
                        UNROLL for (int i = 0; i < 4; i++) score[m][j][i] = 0.0f;
                UNROLL for (int d = 0; d < MAX_D / 16; d++) {
#if HOLD_Q
                    uint(*const left)[MAX_D / 16][4] = held;
#define LEFT(m) left[m][d]
#else
                    uint left[TILES][4];
#define LEFT(m) left[m]
                    UNROLL for (int m = 0; m < TILES; m++)
                        fragment_a<UNITS>(left[m], q_tile, own + 16 * m, 2 * d, lane);
#endif
                    UNROLL for (int j = 0; j < KEYS / 16; j++) {
                        uint right[4];
                        fragments_b<UNITS>(right, k_tile, 16 * j, 2 * d, lane);
                        UNROLL for (int m = 0; m < TILES; m++) {
                            MMA(T)(score[m][2 * j], LEFT(m), right);
                            MMA(T)(score[m][2 * j + 1], LEFT(m), right + 2);
                        }
                    }
                }
            }
            cp_async_wait<0>();
            local_barrier(); /* V is there, and nobody reads K any more */
            if (t0 + KEYS < t_end) {
                const int next = t0 + KEYS;
                copy_rows<UNITS, KEYS, THREADS>(k_tile, kp + (long)next * k_t, k_t, t_end - next, D, k_step, tid);
                cp_async_commit();
            }
            if (busy) {
                UNROLL for (int m = 0; m < TILES; m++) {
                    const int s = s0 + own + 16 * m + lane / 4, t = t0 + lane % 4 * 2;
                    SCORE_TILE(score[m], KEYS, s, t);
                    if (t0 + KEYS > t_first) attention_mask<KEYS>(score[m], s, t, T_len, causal, causal_offset);
                    float alpha[2];
                    attention_weights<KEYS>(score[m], top[m], sum[m], alpha, factor);
                    UNROLL for (int j = 0; j < MAX_D / 8; j++)
                        UNROLL for (int i = 0; i < 4; i++) out[m][j][i] *= alpha[i / 2];
                }
                UNROLL for (int j = 0; j < KEYS / 16; j++) {
                    uint weights[TILES][4];
                    UNROLL for (int m = 0; m < TILES; m++) attention_pack(weights[m], score[m] + 2 * j);
                    UNROLL for (int d = 0; d < MAX_D / 16; d++) {
                        uint right[4];
                        fragments_b_rows<UNITS>(right, v_tile, 16 * j, 2 * d, lane);
                        UNROLL for (int m = 0; m < TILES; m++) {
                            MMA(T)(out[m][2 * d], weights[m], right);
                            MMA(T)(out[m][2 * d + 1], weights[m], right + 2);
                        }
                    }
                }
            }
        }
    }

    /* results to rows, through the part of q's tile that this warp alone reads */
    UNROLL for (int m = 0; m < TILES; m++)
        attention_finish<MAX_D, UNITS>(q_tile, 0, own + 16 * m, out[m], sum[m], lane);
    __syncwarp();
    T *op = o + o_off + b * o_b + h * o_h + (long)(s0 + own) * o_s;
    store_rows<UNITS>(op, o_s, queries - own, DV, q_tile, own, 16 * TILES, lane);
}
