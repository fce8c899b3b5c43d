/* A work-item takes rows_per_item rows (all coordinates but the last, flattened) and inner_chunk of the last
 * coordinate: vectors of 16, then single elements.  The row's coordinates advance like an odometer, so that
 * short rows cost no division. */
#define W 16
#if RANK == 1
#define ROW_COORDS
#define ROW_AT 0
#define LAST n0
#define LAST_STRIDE y_s0
#define ROWS 1
#elif RANK == 2
#define ROW_COORDS c0,
#define ROW_AT c0 * y_s0
#define LAST n1
#define LAST_STRIDE y_s1
#define ROWS n0
#elif RANK == 4
#define ROW_COORDS c0, c1, c2,
#define ROW_AT c0 * y_s0 + c1 * y_s1 + c2 * y_s2
#define LAST n3
#define LAST_STRIDE y_s3
#define ROWS (n0 * n1 * n2)
#else
#define ROW_COORDS c0, c1, c2, c3, c4,
#define ROW_AT c0 * y_s0 + c1 * y_s1 + c2 * y_s2 + c3 * y_s3 + c4 * y_s4
#define LAST n5
#define LAST_STRIDE y_s5
#define ROWS (n0 * n1 * n2 * n3 * n4)
#endif
/* one more expansion, so that ROW_COORDS is several arguments by the time BODY sees it */
#define CALL(f, ...) f(__VA_ARGS__)

KERNEL_ENTRY {
    const int begin = group_id(0) * inner_chunk;
    const int end = min(begin + inner_chunk, LAST);
    int row = group_id(1) * rows_per_item;
    const int last_row = min(row + rows_per_item, ROWS);
#if RANK == 2
    int c0 = row;
#elif RANK == 4
    int c2 = row % n2, c1 = row / n2 % n1, c0 = row / n2 / n1;
#elif RANK == 6
    int c4 = row % n4, c3 = row / n4 % n3, c2 = row / n4 / n3 % n2, c1 = row / n4 / n3 / n2 % n1;
    int c0 = row / n4 / n3 / n2 / n1;
#endif
    for (; row < last_row; row++) {
        const int at = y_off + ROW_AT;
        int c = begin;
        if (LAST_STRIDE == 1) {
            for (; c + W <= end; c += W) T_store_v(y, at + c, CALL(BODY_V, (float16)(0.0f), ROW_COORDS c));
        } else {
            for (; c + W <= end; c += W) {
                T_r lane[W];
                vstore16(CALL(BODY_V, (float16)(0.0f), ROW_COORDS c), 0, lane);
                for (int k = 0; k < W; k++) T_store(y, at + (c + k) * LAST_STRIDE, lane[k]);
            }
        }
        for (; c < end; c++) T_store(y, at + c * LAST_STRIDE, CALL(BODY, 0.0f, ROW_COORDS c));
#if RANK == 2
        c0++;
#elif RANK == 4
        if (++c2 == n2) {
            c2 = 0;
            if (++c1 == n1) c1 = 0, c0++;
        }
#elif RANK == 6
        if (++c4 == n4) {
            c4 = 0;
            if (++c3 == n3) {
                c3 = 0;
                if (++c2 == n2) {
                    c2 = 0;
                    if (++c1 == n1) c1 = 0, c0++;
                }
            }
        }
#endif
    }
}
