#define SIDE 16
#include "common/attention_tile.h"
/* One work-group of 16 x 16 threads takes 32 queries of one head and walks over the keys 32 at a time: the scores of a
 * tile, by them the rows' maxima and sums so far, and the tile's part of the output (online softmax). */

KERNEL_ENTRY {
    LOCAL_ARRAY(float, left, BLOCK * PITCH);  /* a chunk of q */
    LOCAL_ARRAY(float, right, BLOCK * PITCH); /* a chunk of k */
    LOCAL_ARRAY(float, score, BLOCK * PITCH);
    LOCAL_ARRAY(float, values, SIDE * MAX_D); /* rows of v */
    ATTENTION_QUERIES
    GPTR(T) op = o + o_off + b * o_b + h * o_h + s0 * o_s;

    float out[2][COLUMNS];
    float top[2], sum[2];
    for (int r = 0; r < 2; r++) {
        top[r] = -A_INF;
        sum[r] = 0.0f;
        UNROLL for (int j = 0; j < COLUMNS; j++) out[r][j] = 0.0f;
    }

    for (int t0 = 0; t0 < t_end; t0 += BLOCK) {
        const int keys = t_end - t0 < BLOCK ? t_end - t0 : BLOCK;
        float dot[2][2], alpha[2];
        attention_dots(dot, qp, q_s, queries, kp + t0 * k_t, k_t, keys, D, left, right, tid);
        attention_weigh(dot, top, alpha, score, scale, b, h, s0, queries, t0, keys, causal, causal_offset,
                        tid SCORE_ARGUMENTS);
        for (int r = 0; r < 2; r++) {
            for (int c = 0; c < 2; c++) score[(ty + r * SIDE) * PITCH + tx + c * SIDE] = dot[r][c];
            sum[r] *= alpha[r];
        }
        local_barrier();
        for (int r = 0; r < 2; r++)
            for (int t = 0; t < BLOCK; t++) sum[r] += score[(ty + r * SIDE) * PITCH + t];
        for (int r = 0; r < 2; r++)
            UNROLL for (int j = 0; j < COLUMNS; j++) out[r][j] *= alpha[r];
        attention_add(out, score, PITCH, 1, vp + t0 * v_t, v_t, keys, DV, values, tid);
    }

    for (int r = 0; r < 2; r++) {
        const int s = ty + r * SIDE;
        const float inverse = sum[r] == 0.0f ? 0.0f : 1.0f / sum[r];
        UNROLL for (int j = 0; j < COLUMNS; j++) {
            const int c = tx + j * SIDE;
            if (s < queries && c < DV) T_store(op, s * o_s + c, out[r][j] * inverse);
        }
    }
}
