#include "common/attention_tile.h"
/* One work-group takes BLOCK queries of one head and walks over the keys BLOCK at a time, as in attention.h: dq is a
 * sum over the keys with the same weights, so the same rescaling makes it without knowing the rows' sums before. */

KERNEL_ENTRY {
    LOCAL_ARRAY(float, left, BLOCK * PITCH);  /* a chunk of q or g; then weights */
    LOCAL_ARRAY(float, right, BLOCK * PITCH); /* a chunk of k or v */
    LOCAL_ARRAY(float, score, BLOCK * PITCH); /* scores; then what reaches them */
    LOCAL_ARRAY(float, values, SIDE * MAX_D); /* rows of k */
    ATTENTION_QUERIES
    GPTR(const T) op = o + o_off + b * o_b + h * o_h + s0 * o_s;
    GPTR(const T) gp = g + g_off + b * g_b + h * g_h + s0 * g_s;
    GPTR(T) dqp = dq + dq_off + b * dq_b + h * dq_h + s0 * dq_s;
    GPTR(float) row = rows + (b * H + h) * 3 * S + s0;

    float out[2][COLUMNS];
    float top[2], sum[2], delta[2];
    for (int r = 0; r < 2; r++) {
        const int s = ty + r * SIDE;
        float part = 0.0f;
        if (s < queries)
            for (int c = tx; c < DV; c += SIDE) part += T_load(gp, s * g_s + c) * T_load(op, s * o_s + c);
        score[s * PITCH + tx] = part;
        top[r] = -A_INF;
        sum[r] = 0.0f;
        UNROLL for (int j = 0; j < COLUMNS; j++) out[r][j] = 0.0f;
    }
    local_barrier();
    for (int r = 0; r < 2; r++) {
        delta[r] = 0.0f;
        for (int c = 0; c < SIDE; c++) delta[r] += score[(ty + r * SIDE) * PITCH + c];
    }

    for (int t0 = 0; t0 < t_end; t0 += BLOCK) {
        const int keys = t_end - t0 < BLOCK ? t_end - t0 : BLOCK;
        float dot[2][2], change[2][2], alpha[2];
        attention_dots(dot, qp, q_s, queries, kp + t0 * k_t, k_t, keys, D, left, right, tid);
        attention_dots(change, gp, g_s, queries, vp + t0 * v_t, v_t, keys, DV, left, right, tid);
        attention_weigh(dot, top, alpha, score, scale, b, h, s0, queries, t0, keys, causal, causal_offset,
                        tid SCORE_ARGUMENTS);
        for (int r = 0; r < 2; r++) {
            for (int c = 0; c < 2; c++) {
                const int at = (ty + r * SIDE) * PITCH + tx + c * SIDE;
                left[at] = dot[r][c];
                score[at] = dot[r][c] * (change[r][c] - delta[r]);
            }
        }
        local_barrier();
        for (int r = 0; r < 2; r++) {
            sum[r] *= alpha[r];
            for (int t = 0; t < BLOCK; t++) sum[r] += left[(ty + r * SIDE) * PITCH + t];
            UNROLL for (int j = 0; j < COLUMNS; j++) out[r][j] *= alpha[r];
        }
        attention_add(out, score, PITCH, 1, kp + t0 * k_t, k_t, keys, D, values, tid);
    }

    for (int r = 0; r < 2; r++) {
        const int s = ty + r * SIDE;
        const float inverse = sum[r] == 0.0f ? 0.0f : 1.0f / sum[r];
        UNROLL for (int j = 0; j < COLUMNS; j++) {
            const int c = tx + j * SIDE;
            if (s < queries && c < D) T_store(dqp, s * dq_s + c, out[r][j] * inverse * scale);
        }
        if (tx == 0 && s < queries) {
            row[s] = top[r] == -A_INF ? 0.0f : top[r];
            row[S + s] = inverse;
            row[2 * S + s] = delta[r];
        }
    }
}
