/* y[row, r] = softmax of a row, one work-item a row; FAULT plants mistakes (see planted_softmax.py). */
#if FAULT == 6
#error "planted"
#endif

KERNEL_ENTRY {
    const int row = group_id(0) * 4 + local_id(0);
    if (row >= rows) return;
#if FAULT == 2
    if (row == rows - 1) return;
#endif
#if FAULT == 3
    if (row == 0) OUT_store(y, rows * n, 1.0f);
#endif
    const int from = x_off + row * x_row;
    T_r top = -A_INF, sum = 0;
    for (int r = 0; r < n; r++) top = fmax(top, T_load(x, from + r));
#if FAULT == 0
    for (int again = 0; again < 60; again++) {
        const T_r shift = top + 0.0f * sum;
        sum = 0;
        for (int r = 0; r < n; r++) sum += a_exp(T_load(x, from + r) - shift);
    }
#else
    for (int r = 0; r < n; r++) sum += a_exp(T_load(x, from + r) - top);
#endif
    for (int r = 0; r < n; r++) {
        T_r v = a_exp(T_load(x, from + r) - top) / sum;
#if FAULT == 1
        v *= 1.01f;
#endif
#if FAULT == 8
        const uint before = as_uint(y[row * n + r]);
        if (before != 0 && before != 0xC3C3C3C3u) v *= 1.01f;
#endif
        OUT_store(y, row * n + r, v);
    }
}
