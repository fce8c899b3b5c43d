/* As cpu/pointwise.cl with several results: all of a vector's are there before the first is stored, so a result may lie
 * where an operand is read at the same element. */
#define W 16
#if RANK == 1
#define ROW_COORDS
#define ROW_AT(b) b##_off
#define LAST n0
#define LAST_STRIDE(b) b##_s0
#define ROWS 1
#elif RANK == 4
#define ROW_COORDS c0, c1, c2,
#define ROW_AT(b) (b##_off + c0 * b##_s0 + c1 * b##_s1 + c2 * b##_s2)
#define LAST n3
#define LAST_STRIDE(b) b##_s3
#define ROWS (n0 * n1 * n2)
#else
#define ROW_COORDS c0, c1, c2, c3, c4,
#define ROW_AT(b) (b##_off + c0 * b##_s0 + c1 * b##_s1 + c2 * b##_s2 + c3 * b##_s3 + c4 * b##_s4)
#define LAST n5
#define LAST_STRIDE(b) b##_s5
#define ROWS (n0 * n1 * n2 * n3 * n4)
#endif
#if RESULTS == 2
#define MORE r1
#elif RESULTS == 3
#define MORE r1, r2
#else
#define MORE r1, r2, r3
#endif
#define CALL(f, ...) f(__VA_ARGS__)
#define AT(b) (ROW_AT(b) + c * LAST_STRIDE(b))
#define PUT_V(T, b, v)                                                                        \
    if (LAST_STRIDE(b) == 1) {                                                                \
        T##_store_v(b, AT(b), v);                                                             \
    } else {                                                                                  \
        T##_r lane[W];                                                                        \
        vstore16(v, 0, lane);                                                                 \
        for (int k = 0; k < W; k++) T##_store(b, AT(b) + k * LAST_STRIDE(b), lane[k]);        \
    }

KERNEL_ENTRY {
    const int begin = group_id(0) * inner_chunk;
    const int end = min(begin + inner_chunk, LAST);
    int row = group_id(1) * rows_per_item;
    const int last_row = min(row + rows_per_item, ROWS);
#if RANK == 4
    int c2 = row % n2, c1 = row / n2 % n1, c0 = row / n2 / n1;
#elif RANK == 6
    int c4 = row % n4, c3 = row / n4 % n3, c2 = row / n4 / n3 % n2, c1 = row / n4 / n3 / n2 % n1;
    int c0 = row / n4 / n3 / n2 / n1;
#endif
    for (; row < last_row; row++) {
        int c = begin;
        for (; c + W <= end; c += W) {
            T1_rv r1;
#if RESULTS > 2
            T2_rv r2;
#endif
#if RESULTS > 3
            T3_rv r3;
#endif
            const T_rv r0 = CALL(BODY_V, (float16)(0.0f), ROW_COORDS c, MORE);
            PUT_V(T, y, r0)
            PUT_V(T1, y1, r1)
#if RESULTS > 2
            PUT_V(T2, y2, r2)
#endif
#if RESULTS > 3
            PUT_V(T3, y3, r3)
#endif
        }
        for (; c < end; c++) {
            T1_r r1;
#if RESULTS > 2
            T2_r r2;
#endif
#if RESULTS > 3
            T3_r r3;
#endif
            const T_r r0 = CALL(BODY, 0.0f, ROW_COORDS c, MORE);
            T_store(y, AT(y), r0);
            T1_store(y1, AT(y1), r1);
#if RESULTS > 2
            T2_store(y2, AT(y2), r2);
#endif
#if RESULTS > 3
            T3_store(y3, AT(y3), r3);
#endif
        }
#if RANK == 4
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
