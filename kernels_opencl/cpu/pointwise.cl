/* A work-item takes rows_per_item rows (all coordinates but the last, flattened) and inner_chunk of the last
 * coordinate: vectors of 16, then single elements.  The row's coordinates advance like an odometer, so that
 * short rows cost no division. */
#include "common/pointwise_results.h"
#define W 16
#if RANK == 1
#define ROW_COORDS
#define ROW_AT(b) b##_off
#define LAST n0
#define LAST_STRIDE(b) b##_s0
#define ROWS 1
#elif RANK == 2
#define ROW_COORDS c0,
#define ROW_AT(b) (b##_off + c0 * b##_s0)
#define LAST n1
#define LAST_STRIDE(b) b##_s1
#define ROWS n0
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
#define AT(b) (ROW_AT(b) + c * LAST_STRIDE(b))
#define DECLARE_V(T, b, r) T##_rv r;
#define IS_DENSE(T, b, r) && LAST_STRIDE(b) == 1
#define PUT_DENSE(T, b, r) T##_store_v(b, ROW_AT(b) + c, r);
#define PUT_ANY(T, b, r)                                                                      \
    if (LAST_STRIDE(b) == 1) {                                                                \
        T##_store_v(b, AT(b), r);                                                             \
    } else {                                                                                  \
        T##_r lane[W];                                                                        \
        vstore16(r, 0, lane);                                                                 \
        for (int k = 0; k < W; k++) T##_store(b, AT(b) + k * LAST_STRIDE(b), lane[k]);        \
    }
#define VECTORS(put)                                                                          \
    for (; c + W <= end; c += W) {                                                            \
        EACH_RESULT(DECLARE_V)                                                                \
        RESULTS_OF(BODY_V, (float16)(0.0f), ROW_COORDS c)                                     \
        EACH_RESULT(put)                                                                      \
    }

KERNEL_ENTRY {
    const int begin = group_id(0) * inner_chunk;
    const int end = min(begin + inner_chunk, LAST);
    int row = group_id(1) * rows_per_item;
    const int last_row = min(row + rows_per_item, ROWS);
    const int dense = 1 EACH_RESULT(IS_DENSE);
#if RANK == 2
    int c0 = row;
#elif RANK == 4
    int c2 = row % n2, c1 = row / n2 % n1, c0 = row / n2 / n1;
#elif RANK == 6
    int c4 = row % n4, c3 = row / n4 % n3, c2 = row / n4 / n3 % n2, c1 = row / n4 / n3 / n2 % n1;
    int c0 = row / n4 / n3 / n2 / n1;
#endif
    for (; row < last_row; row++) {
        int c = begin;
        if (dense) {
            VECTORS(PUT_DENSE)
        } else {
            VECTORS(PUT_ANY)
        }
        for (; c < end; c++) {
            EACH_RESULT(DECLARE)
            RESULTS_OF(BODY, 0.0f, ROW_COORDS c)
            EACH_RESULT(PUT)
        }
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
