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
