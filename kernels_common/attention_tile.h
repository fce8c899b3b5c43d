/* Tiles of attention: BLOCK x BLOCK scores by SIDE x SIDE threads.
 *
 * Thread (ty, tx) makes the scores of rows ty, ty + SIDE and columns tx, tx + SIDE, and owns columns tx + SIDE j of two
 * rows of a result, in registers.  Factors pass through local memory in chunks of BLOCK x BLOCK, whose rows are one
 * element longer so that a column of them lies in different banks. */
#define BLOCK (2 * SIDE)
#define PITCH (BLOCK + 1)
#define COLUMNS (MAX_D / SIDE)

/* a chunk to local memory, zero outside [0, rows) x [0, columns) */
FN void attention_stage(LPTR(float) to, GPTR(const T) from, int stride, int rows, int columns, int tid) {
    for (int e = tid; e < BLOCK * BLOCK; e += SIDE * SIDE) {
        const int r = e / BLOCK;
        const int c = e % BLOCK;
        to[r * PITCH + c] = (r < rows && c < columns) ? T_load(from, r * stride + c) : 0.0f;
    }
}

/* dot[r][c] = row ty + r SIDE of a times row tx + c SIDE of b */
FN void attention_dots(float dot[2][2], GPTR(const T) a, int a_row, int a_rows, GPTR(const T) b, int b_row, int b_rows,
                       int depth, LPTR(float) left, LPTR(float) right, int tid) {
    const int tx = tid % SIDE;
    const int ty = tid / SIDE;
    dot[0][0] = dot[0][1] = dot[1][0] = dot[1][1] = 0.0f;
    for (int d0 = 0; d0 < depth; d0 += BLOCK) {
        local_barrier();
        attention_stage(left, a + d0, a_row, a_rows, depth - d0, tid);
        attention_stage(right, b + d0, b_row, b_rows, depth - d0, tid);
        local_barrier();
        for (int d = 0; d < BLOCK; d++) {
            const float a0 = left[ty * PITCH + d], a1 = left[(ty + SIDE) * PITCH + d];
            const float b0 = right[tx * PITCH + d], b1 = right[(tx + SIDE) * PITCH + d];
            dot[0][0] += a0 * b0;
            dot[0][1] += a0 * b1;
            dot[1][0] += a1 * b0;
            dot[1][1] += a1 * b1;
        }
    }
}

/* out += weights times `rows` rows of `from`, which pass through `values` SIDE at a time; the weight of row t for this
 * thread's row r lies at weights[r * row_step + t * step] and is zero from t = rows on */
FN void attention_add(float out[2][COLUMNS], LPTR(const float) weights, int row_step, int step, GPTR(const T) from,
                      int stride, int rows, int columns, LPTR(float) values, int tid) {
    const int tx = tid % SIDE;
    const int ty = tid / SIDE;
    for (int first = 0; first < rows; first += SIDE) {
        local_barrier();
        for (int e = tid; e < SIDE * MAX_D; e += SIDE * SIDE) {
            const int t = first + e / MAX_D;
            const int c = e % MAX_D;
            values[e] = (t < rows && c < columns) ? T_load(from, t * stride + c) : 0.0f;
        }
        local_barrier();
        for (int t = 0; t < SIDE; t++) {
            const float p0 = weights[ty * row_step + (first + t) * step];
            const float p1 = weights[(ty + SIDE) * row_step + (first + t) * step];
            UNROLL for (int j = 0; j < COLUMNS; j++) {
                const float x = values[t * MAX_D + j * SIDE + tx];
                out[0][j] += p0 * x;
                out[1][j] += p1 * x;
            }
        }
    }
}

/* Where a work-group that takes BLOCK queries of a head is, and how far the keys go that they see: thread (ty, tx) of the
 * queries from s0 on of head h of batch b; the head of keys and values that it shares with others. */
#define ATTENTION_QUERIES                                                                              \
    const int tid = local_id(0);                                                                       \
    const int tx = tid % SIDE;                                                                         \
    const int ty = tid / SIDE;                                                                         \
    const int blocks = (S + BLOCK - 1) / BLOCK;                                                        \
    const int s0 = group_id(0) % blocks * BLOCK;                                                       \
    const int h = group_id(0) / blocks % H;                                                            \
    const int b = group_id(0) / blocks / H;                                                            \
    const int head = h * HK / H;                                                                       \
    const int queries = S - s0 < BLOCK ? S - s0 : BLOCK;                                               \
    const int seen = causal ? s0 + queries + causal_offset : T_len;                                    \
    const int t_end = seen < T_len ? seen : T_len;                                                     \
    GPTR(const T) qp = q + q_off + b * q_b + h * q_h + s0 * q_s;                                       \
    GPTR(const T) kp = k + k_off + b * k_b + head * k_h;                                               \
    GPTR(const T) vp = v + v_off + b * v_b + head * v_h;

/* A tile of products of queries from s0 on and keys from t0 on to weights against the rows' maxima so far (online
 * softmax): dot = exp(SCORE(dot scale) - top), zero where a key is not seen; alpha is what earlier sums shrink by.  Scores
 * pass through `score`, which may be written again after the function. */
FN void attention_weigh(float dot[2][2], float top[2], float alpha[2], LPTR(float) score, float scale, int b, int h,
                        int s0, int queries, int t0, int keys, int causal, int causal_offset, int tid SCORE_PARAMETERS) {
    const int tx = tid % SIDE;
    const int ty = tid / SIDE;
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
}
