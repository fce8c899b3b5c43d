/* One expression per element of an index space of RANK sizes: GROUP threads, ITEMS elements each, a group's
 * elements consecutive so that neighbouring threads touch neighbouring memory. */
KERNEL_ENTRY {
    const int first = group_id(0) * (GROUP * ITEMS) + local_id(0);
#if RANK == 1
    const int total = n0;
#elif RANK == 2
    const int total = n0 * n1;
#elif RANK == 4
    const int total = n0 * n1 * n2 * n3;
#else
    const int total = n0 * n1 * n2 * n3 * n4 * n5;
#endif
    UNROLL
    for (int k = 0; k < ITEMS; k++) {
        const int i = first + k * GROUP;
        if (i < total) {
            /* unsigned division is the cheaper one on GPUs */
#if RANK == 1
            const int at = y_off + i * y_s0;
            T_store(y, at, BODY(0.0f, i));
#else
            uint rest = (uint)i;
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
#if RANK == 2
            const int at = y_off + c0 * y_s0 + c1 * y_s1;
            T_store(y, at, BODY(0.0f, c0, c1));
#elif RANK == 4
            const int at = y_off + c0 * y_s0 + c1 * y_s1 + c2 * y_s2 + c3 * y_s3;
            T_store(y, at, BODY(0.0f, c0, c1, c2, c3));
#else
            const int at = y_off + c0 * y_s0 + c1 * y_s1 + c2 * y_s2 + c3 * y_s3 + c4 * y_s4 + c5 * y_s5;
            T_store(y, at, BODY(0.0f, c0, c1, c2, c3, c4, c5));
#endif
#endif
        }
    }
}
