/* Expressions over an index space of RANK sizes: GROUP threads, ITEMS elements each, a group's elements consecutive so that
 * neighbouring threads touch neighbouring memory. */
#include "common/pointwise_results.h"
#if RANK == 1
#define COORDS c0
#define AT(b) (b##_off + c0 * b##_s0)
#define TOTAL n0
#elif RANK == 2
#define COORDS c0, c1
#define AT(b) (b##_off + c0 * b##_s0 + c1 * b##_s1)
#define TOTAL (n0 * n1)
#elif RANK == 4
#define COORDS c0, c1, c2, c3
#define AT(b) (b##_off + c0 * b##_s0 + c1 * b##_s1 + c2 * b##_s2 + c3 * b##_s3)
#define TOTAL (n0 * n1 * n2 * n3)
#else
#define COORDS c0, c1, c2, c3, c4, c5
#define AT(b) (b##_off + c0 * b##_s0 + c1 * b##_s1 + c2 * b##_s2 + c3 * b##_s3 + c4 * b##_s4 + c5 * b##_s5)
#define TOTAL (n0 * n1 * n2 * n3 * n4 * n5)
#endif

KERNEL_ENTRY {
    const int first = group_id(0) * (GROUP * ITEMS) + local_id(0);
    const int total = TOTAL;
    UNROLL
    for (int k = 0; k < ITEMS; k++) {
        const int i = first + k * GROUP;
        if (i < total) {
#if RANK == 1
            const int c0 = i;
#else
            uint rest = (uint)i; /* unsigned division is the cheaper one on GPUs */
#if RANK == 6
            const int c5 = (int)(rest % (uint)n5);
            rest /= (uint)n5;
            const int c4 = (int)(rest % (uint)n4);
            rest /= (uint)n4;
#endif
#if RANK >= 4
            const int c3 = (int)(rest % (uint)n3);
            rest /= (uint)n3;
            const int c2 = (int)(rest % (uint)n2);
            rest /= (uint)n2;
#endif
            const int c1 = (int)(rest % (uint)n1);
            const int c0 = (int)(rest / (uint)n1);
#endif
            EACH_RESULT(DECLARE)
            RESULTS_OF(BODY, 0.0f, COORDS)
            EACH_RESULT(PUT)
        }
    }
}
