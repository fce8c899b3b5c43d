/* One work-group of 16 x 16 threads takes 32 queries of one head and walks over the keys 32 at a time.
 *
 * Thread (ty, tx) makes the scores of queries ty, ty + 16 and keys tx, tx + 16, and owns output columns tx + 16 j of
 * the same two queries, in registers.  q and k pass through local memory in chunks of 32 x 32, whose rows are one
 * element longer so that a column of them lies in different banks; v passes through it 16 keys at a time. */
#define SIDE 16
#define BLOCK 32
#define PITCH 33
#define COLUMNS (MAX_D / SIDE)

/* a 32 x 32 chunk to local memory, zero outside [0, rows) x [0, columns) */
FN void attention_stage(LPTR(float) to, GPTR(const T) from, int stride, int rows, int columns, int tid) {
    for (int e = tid; e < BLOCK * BLOCK; e += SIDE * SIDE) {
        const int r = e / BLOCK;
        const int c = e % BLOCK;
        to[r * PITCH + c] = (r < rows && c < columns) ? T_load(from, r * stride + c) : 0.0f;
    }
}

KERNEL_ENTRY {
    LOCAL_ARRAY(float, left, BLOCK * PITCH);  /* a chunk of q */
    LOCAL_ARRAY(float, right, BLOCK * PITCH); /* a chunk of k */
    LOCAL_ARRAY(float, score, BLOCK * PITCH);
    LOCAL_ARRAY(float, values, SIDE * MAX_D); /* rows of v */
    const int tid = local_id(0);
    const int tx = tid % SIDE;
    const int ty = tid / SIDE;
    const int blocks = (S + BLOCK - 1) / BLOCK;
    const int s0 = group_id(0) % blocks * BLOCK;
    const int h = group_id(0) / blocks % H;
    const int b = group_id(0) / blocks / H;
    const int head = h * HK / H;
    GPTR(const T) qp = q + q_off + b * q_b + h * q_h + s0 * q_s;
    GPTR(const T) kp = k + k_off + b * k_b + head * k_h;
    GPTR(const T) vp = v + v_off + b * v_b + head * v_h;
    GPTR(T) op = o + o_off + b * o_b + h * o_h + s0 * o_s;
    const int queries = S - s0 < BLOCK ? S - s0 : BLOCK;
    int t_end = T_len;
    if (causal && s0 + queries + causal_offset < t_end) t_end = s0 + queries + causal_offset;

    float out[2][COLUMNS];
    float top[2], sum[2];
    for (int r = 0; r < 2; r++) {
        top[r] = -A_INF;
        sum[r] = 0.0f;
        UNROLL for (int j = 0; j < COLUMNS; j++) out[r][j] = 0.0f;
    }

    for (int t0 = 0; t0 < t_end; t0 += BLOCK) {
        const int keys = t_end - t0 < BLOCK ? t_end - t0 : BLOCK;
        float dot[2][2] = {{0.0f, 0.0f}, {0.0f, 0.0f}};
        for (int d0 = 0; d0 < D; d0 += BLOCK) {
            local_barrier();
            attention_stage(left, qp + d0, q_s, queries, D - d0, tid);
            attention_stage(right, kp + t0 * k_t + d0, k_t, keys, D - d0, tid);
            local_barrier();
            for (int d = 0; d < BLOCK; d++) {
                const float q0 = left[ty * PITCH + d], q1 = left[(ty + SIDE) * PITCH + d];
                const float k0 = right[tx * PITCH + d], k1 = right[(tx + SIDE) * PITCH + d];
                dot[0][0] += q0 * k0;
                dot[0][1] += q0 * k1;
                dot[1][0] += q1 * k0;
                dot[1][1] += q1 * k1;
            }
        }
        for (int r = 0; r < 2; r++) {
            for (int c = 0; c < 2; c++) {
                const int s = ty + r * SIDE;
                const int t = tx + c * SIDE;
                float x = -A_INF;
                if (s < queries && t < keys && !(causal && t0 + t > s0 + s + causal_offset))
                    x = SCORE(dot[r][c] * scale, b, h, s0 + s, t0 + t);
                dot[r][c] = x;
                score[s * PITCH + t] = x;
            }
        }
        local_barrier();
        /* every thread of a row finds the row's maximum for itself */
        float alpha[2];
        for (int r = 0; r < 2; r++) {
            float high = top[r];
            for (int t = 0; t < BLOCK; t++) {
                const float x = score[(ty + r * SIDE) * PITCH + t];
                high = x > high ? x : high;
            }
            const float base = high == -A_INF ? 0.0f : high; /* nothing seen yet: all weights 0 */
            alpha[r] = a_exp(top[r] - base);
            top[r] = high;
            for (int c = 0; c < 2; c++) dot[r][c] = a_exp(dot[r][c] - base);
        }
        local_barrier();
        for (int r = 0; r < 2; r++) {
            for (int c = 0; c < 2; c++) score[(ty + r * SIDE) * PITCH + tx + c * SIDE] = dot[r][c];
            sum[r] *= alpha[r];
        }
        local_barrier();
        for (int r = 0; r < 2; r++)
            for (int t = 0; t < BLOCK; t++) sum[r] += score[(ty + r * SIDE) * PITCH + t];
        for (int r = 0; r < 2; r++)
            UNROLL for (int j = 0; j < COLUMNS; j++) out[r][j] *= alpha[r];
        for (int t1 = 0; t1 < keys; t1 += SIDE) {
            local_barrier();
            for (int e = tid; e < SIDE * MAX_D; e += SIDE * SIDE) {
                const int t = t0 + t1 + e / MAX_D;
                const int c = e % MAX_D;
                values[e] = (t < t_end && c < DV) ? T_load(vp, t * v_t + c) : 0.0f;
            }
            local_barrier();
            for (int t = 0; t < SIDE; t++) {
                const float p0 = score[ty * PITCH + t1 + t], p1 = score[(ty + SIDE) * PITCH + t1 + t];
                UNROLL for (int j = 0; j < COLUMNS; j++) {
                    const float x = values[t * MAX_D + j * SIDE + tx];
                    out[0][j] += p0 * x;
                    out[1][j] += p1 * x;
                }
            }
        }
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
