/* One thread sums ROWS rows of one column.  The including file defines B_INDEX(k), the element of B at (k, n). */
KERNEL_ENTRY {
    const int n = global_id(0);
    for (int batch = group_id(2); batch < nb0 * nb1; batch += group_count(2)) {
        const int i0 = batch / nb1, i1 = batch - i0 * nb1;
        const int a_base = a_off + i0 * a_b0 + i1 * a_b1, b_base = b_off + i0 * b_b0 + i1 * b_b1;
        const int c_base = c_off + i0 * c_b0 + i1 * c_b1;
        for (int m0 = group_id(1) * ROWS; m0 < M; m0 += group_count(1) * ROWS) {
            if (n < N) {
                ACC_r sums[ROWS];
                for (int r = 0; r < ROWS; r++) sums[r] = (ACC_r)0;
                for (int k = 0; k < K; k++) {
                    const ACC_r w = (ACC_r)TB_load(b, b_base + B_INDEX(k));
                    for (int r = 0; r < ROWS; r++) {
                        const int m = m0 + r < M ? m0 + r : M - 1; /* rows past the end repeat the last one */
                        sums[r] += (ACC_r)PROLOGUE(TA_load(a, a_base + m * a_m + k * a_k), batch, m, k) * w;
                    }
                }
                for (int r = 0; r < ROWS; r++) {
                    const int m = m0 + r;
                    if (m < M) TC_store(c, c_base + m * c_m + n, EPILOGUE(sums[r], batch, m, n));
                }
            }
        }
    }
}
