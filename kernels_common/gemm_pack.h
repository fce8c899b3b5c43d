/* One thread copies KB elements of one column of a panel; neighbours in dimension 0 are neighbours in the panel. */
KERNEL_ENTRY {
    const int column = group_id(0) * 32 + local_id(0);
    const int batch = group_id(2), i0 = batch / nb1, i1 = batch - i0 * nb1;
    const int source = b_off + i0 * b_b0 + i1 * b_b1 + column * b_n;
    const int target = p_off + i0 * p_b0 + i1 * p_b1 + group_id(0) * K * 32 + local_id(0);
    for (int i = 0; i < KB; i++) {
        const int k = (group_id(1) * KB + i) * LINES + local_id(1);
        if (k < K) {
            T_r v = (T_r)0;
            if (column < N) v = T_load(b, source + k * b_k);
            T_store(packed, target + k * 32, v);
        }
    }
}
