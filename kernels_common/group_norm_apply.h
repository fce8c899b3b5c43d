/* y[n, p, c] = EPILOGUE((PROLOGUE(x) - mean[n, g]) * inv_std[n, g]), a work-item per element. */
KERNEL_ENTRY {
    const int at = group_id(0) * GROUP + local_id(0);
    if (at < N * P * C) {
        const int c = at % C, p = at / C % P, n = at / C / P, g = n * G + c / (C / G);
        const T_r v = PROLOGUE(T_load(x, x_off + (n * P + p) * x_ld + c), n, p, c);
        OUT_store(y, y_off + (n * P + p) * y_ld + c, EPILOGUE((v - mean[g]) * inv_std[g], n, p, c));
    }
}
