/* Layer and RMS normalisation of contiguous rows: sweeps of vectors over a row that stays in the cache.
 *
 * A row of up to KEPT values is held in a private array after the first sweep, so that the prologue's work and
 * conversions happen once; a longer one is read again.  Two accumulators hide the latency of additions; a ragged
 * end is done in scalars. */
#define KEPT 4096

FN T_r across_sum(T_rv v) {
    float8 a = v.lo + v.hi;
    float4 b = a.lo + a.hi;
    float2 c = b.lo + b.hi;
    return c.x + c.y;
}

#define LOAD(c) PROLOGUE_V(T_load_v(p, c), row, c)
#define LOAD_1(c) PROLOGUE(T_load(p, c), row, c)
#define HELD(c) (held ? kept[(c) / 16] : LOAD(c))

KERNEL_ENTRY {
    const int share = (rows + group_count(0) - 1) / group_count(0);
    const int begin = group_id(0) * share, end = min(rows, begin + share), whole = n / 16 * 16, held = n <= KEPT;
    T_rv kept[KEPT / 16];
    for (int row = begin; row < end; row++) {
        GPTR(const T) p = x + x_off + row * x_row;
        GPTR(OUT) q = y + row * n;
        T_rv a0 = (T_rv)(0), a1 = a0, s0 = a0, s1 = a0;
        T_r mean = 0, square = 0, rest = 0;
        for (int c = 0; c < whole; c += 16) {
            const T_rv v = LOAD(c);
            if (held) kept[c / 16] = v;
#ifdef NORM_SUM
            T_store_v(sum, row * n + c, v);
#endif
#if NORM_CENTER
            a0 += v;
#else
            a0 += v * v;
#endif
        }
        for (int c = whole; c < n; c++) {
            const T_r v = LOAD_1(c);
#ifdef NORM_SUM
            T_store(sum, row * n + c, v);
#endif
#if NORM_CENTER
            rest += v;
#else
            rest += v * v;
#endif
        }
        square = across_sum(a0 + a1) + rest;
#if NORM_CENTER
        mean = square / (T_r)n;
        square = 0;
        int c = 0;
        for (; c + 32 <= whole; c += 32) {
            const T_rv d0 = HELD(c) - mean, d1 = HELD(c + 16) - mean;
            s0 += d0 * d0;
            s1 += d1 * d1;
        }
        if (c < whole) {
            const T_rv d = HELD(c) - mean;
            s0 += d * d;
        }
        for (c = whole; c < n; c++) {
            const T_r d = LOAD_1(c) - mean;
            square += d * d;
        }
        square += across_sum(s0 + s1);
#endif
        const T_r scale = 1 / sqrt(square / (T_r)n + (T_r)eps);
        for (int c = 0; c < whole; c += 16) OUT_store_v(q, c, EPILOGUE_V((HELD(c) - mean) * scale, row, c));
        for (int c = whole; c < n; c++) OUT_store(q, c, EPILOGUE((LOAD_1(c) - mean) * scale, row, c));
#ifdef NORM_STATS
        mean_out[row] = mean;
        inv_std[row] = scale;
#endif
    }
}
