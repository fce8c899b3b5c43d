/* Gradient of softmax or log-softmax of rows: two sweeps of vectors, the second from the cache. */
FN T_r across_sum(T_rv v) {
    const float8 a = v.lo + v.hi;
    const float4 b = a.lo + a.hi;
    const float2 c = b.lo + b.hi;
    return c.x + c.y;
}

KERNEL_ENTRY {
    const int share = (rows + group_count(0) - 1) / group_count(0);
    const int begin = group_id(0) * share, end = min(rows, begin + share), whole = n / 16 * 16;
    for (int row = begin; row < end; row++) {
        GPTR(const T) p = y + y_off + row * y_row;
        GPTR(const T) w = g + g_off + row * g_row;
        GPTR(OUT) q = dx + row * n;
        T_rv s0 = (T_rv)(0), s1 = s0;
        int c = 0;
        for (; c + 32 <= whole; c += 32) {
            s0 += TERM(T_load_v(p, c), T_load_v(w, c));
            s1 += TERM(T_load_v(p, c + 16), T_load_v(w, c + 16));
        }
        if (c < whole) s0 += TERM(T_load_v(p, c), T_load_v(w, c));
        T_r sum = across_sum(s0 + s1);
        for (c = whole; c < n; c++) sum += TERM(T_load(p, c), T_load(w, c));
        for (c = 0; c < whole; c += 16) {
            const T_rv v = T_load_v(p, c), u = T_load_v(w, c);
            OUT_store_v(q, c, EPILOGUE_V(RESULT(v, u, sum), row, c));
        }
        for (c = whole; c < n; c++) {
            const T_r v = T_load(p, c), u = T_load(w, c);
            OUT_store(q, c, EPILOGUE(RESULT(v, u, sum), row, c));
        }
    }
}
