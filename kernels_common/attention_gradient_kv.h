#include "common/attention_tile.h"
/* One work-group takes BLOCK keys of one head of keys and walks over the queries that see them BLOCK at a time, of every
 * head of queries that shares the keys, in their order: each sum has one owner. */

KERNEL_ENTRY {
    LOCAL_ARRAY(float, left, BLOCK * PITCH);  /* a chunk of q or g; then weights */
    LOCAL_ARRAY(float, right, BLOCK * PITCH); /* a chunk of k or v; then what reaches the scores */
    LOCAL_ARRAY(float, values, SIDE * MAX_D); /* rows of g or q */
    const int tid = local_id(0);
    const int tx = tid % SIDE;
    const int ty = tid / SIDE;
    const int blocks = (T_len + BLOCK - 1) / BLOCK;
    const int t0 = group_id(0) % blocks * BLOCK;
    const int head = group_id(0) / blocks % HK;
    const int b = group_id(0) / blocks / HK;
    GPTR(const T) kp = k + k_off + b * k_b + head * k_h + t0 * k_t;
    GPTR(const T) vp = v + v_off + b * v_b + head * v_h + t0 * v_t;
    const int keys = T_len - t0 < BLOCK ? T_len - t0 : BLOCK;
    int s_begin = 0;
    if (causal && t0 > causal_offset) s_begin = (t0 - causal_offset) / BLOCK * BLOCK;

    float dk_sums[2][COLUMNS], dv_sums[2][COLUMNS];
    for (int r = 0; r < 2; r++) {
        UNROLL for (int j = 0; j < COLUMNS; j++) {
            dk_sums[r][j] = 0.0f;
            dv_sums[r][j] = 0.0f;
        }
    }

    for (int h = head * (H / HK); h < (head + 1) * (H / HK); h++) {
        for (int s0 = s_begin; s0 < S; s0 += BLOCK) {
            const int queries = S - s0 < BLOCK ? S - s0 : BLOCK;
            GPTR(const T) qp = q + q_off + b * q_b + h * q_h + s0 * q_s;
            GPTR(const T) gp = g + g_off + b * g_b + h * g_h + s0 * g_s;
            GPTR(const float) row = rows + (b * H + h) * 3 * S + s0;
            float dot[2][2], change[2][2];
            attention_dots(dot, qp, q_s, queries, kp, k_t, keys, D, left, right, tid);
            attention_dots(change, gp, g_s, queries, vp, v_t, keys, DV, left, right, tid);
            local_barrier();
            for (int r = 0; r < 2; r++) {
                for (int c = 0; c < 2; c++) {
                    const int s = ty + r * SIDE;
                    const int t = tx + c * SIDE;
                    float p = 0.0f, reached = 0.0f;
                    if (s < queries && t < keys && !(causal && t0 + t > s0 + s + causal_offset)) {
                        p = a_exp(SCORE(dot[r][c] * scale, b, h, s0 + s, t0 + t) - row[s]) * row[S + s];
                        reached = p * (change[r][c] - row[2 * S + s]);
                    }
                    left[s * PITCH + t] = p;
                    right[s * PITCH + t] = reached;
                }
            }
            attention_add(dv_sums, left, 1, PITCH, gp, g_s, queries, DV, values, tid);
            attention_add(dk_sums, right, 1, PITCH, qp, q_s, queries, D, values, tid);
        }
    }

    GPTR(T) dkp = dk + dk_off + b * dk_b + head * dk_h + t0 * dk_t;
    GPTR(T) dvp = dv + dv_off + b * dv_b + head * dv_h + t0 * dv_t;
    for (int r = 0; r < 2; r++) {
        const int t = ty + r * SIDE;
        UNROLL for (int j = 0; j < COLUMNS; j++) {
            const int c = tx + j * SIDE;
            if (t < keys && c < D) T_store(dkp, t * dk_t + c, dk_sums[r][j] * scale);
            if (t < keys && c < DV) T_store(dvp, t * dv_t + c, dv_sums[r][j]);
        }
    }
}
