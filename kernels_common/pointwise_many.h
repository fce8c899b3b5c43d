/* Several expressions per element of an index space of RANK (1, 4 or 6) sizes.  All results of an element are there before
 * the first is stored, so a result may lie where an operand is read at the same element.  GROUP threads, ITEMS elements
 * each. */
#if RANK == 1
#define COORDS c0
#define AT(b) (b##_off + c0 * b##_s0)
#define TOTAL n0
#elif RANK == 4
#define COORDS c0, c1, c2, c3
#define AT(b) (b##_off + c0 * b##_s0 + c1 * b##_s1 + c2 * b##_s2 + c3 * b##_s3)
#define TOTAL (n0 * n1 * n2 * n3)
#else
#define COORDS c0, c1, c2, c3, c4, c5
#define AT(b) (b##_off + c0 * b##_s0 + c1 * b##_s1 + c2 * b##_s2 + c3 * b##_s3 + c4 * b##_s4 + c5 * b##_s5)
#define TOTAL (n0 * n1 * n2 * n3 * n4 * n5)
#endif
#if RESULTS == 2
#define MORE r1
#elif RESULTS == 3
#define MORE r1, r2
#else
#define MORE r1, r2, r3
#endif
#define CALL(f, ...) f(__VA_ARGS__)

KERNEL_ENTRY {
    const int first = group_id(0) * (GROUP * ITEMS) + local_id(0);
    UNROLL
    for (int k = 0; k < ITEMS; k++) {
        const int i = first + k * GROUP;
        if (i < TOTAL) {
#if RANK == 1
            const int c0 = i;
#else
            uint rest = (uint)i;
#if RANK == 6
            const int c5 = (int)(rest % (uint)n5);
            rest /= (uint)n5;
            const int c4 = (int)(rest % (uint)n4);
            rest /= (uint)n4;
#endif
            const int c3 = (int)(rest % (uint)n3);
            rest /= (uint)n3;
            const int c2 = (int)(rest % (uint)n2);
            rest /= (uint)n2;
            const int c1 = (int)(rest % (uint)n1);
            const int c0 = (int)(rest / (uint)n1);
#endif
            T1_r r1;
#if RESULTS > 2
            T2_r r2;
#endif
#if RESULTS > 3
            T3_r r3;
#endif
            const T_r r0 = CALL(BODY, 0.0f, COORDS, MORE);
            T_store(y, AT(y), r0);
            T1_store(y1, AT(y1), r1);
#if RESULTS > 2
            T2_store(y2, AT(y2), r2);
#endif
#if RESULTS > 3
            T3_store(y3, AT(y3), r3);
#endif
        }
    }
}
