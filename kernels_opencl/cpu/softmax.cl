/* Softmax of contiguous rows in three sweeps of vectors.
 *
 * A row of up to KEPT values is held in a private array between the sweeps, so that loads and the prologue
 * happen once; longer rows are read, and exponentiated, again.  A ragged end is one more vector padded with
 * -inf, which adds nothing.  NaN need not be found by the maximum: it reaches every element through the sum. */
#define KEPT 2048
#define MAX_V(a, b) ((b) > (a) ? (b) : (a))

#define LOAD(c) PROLOGUE_V(T_load_v(p, c), row, c)
#define LOAD_END(v)                                                                                           \
    {                                                                                                         \
        T_r lanes[16];                                                                                        \
        vstore16((T_rv)(-A_INF), 0, lanes);                                                                   \
        for (int l = whole; l < n; l++) lanes[l - whole] = PROLOGUE(T_load(p, l), row, l);                    \
        v = vload16(0, lanes);                                                                                \
    }
#define STORE_END(v)                                                                                          \
    {                                                                                                         \
        T_r lanes[16];                                                                                        \
        vstore16(v, 0, lanes);                                                                                \
        for (int l = whole; l < n; l++) OUT_store(q, l, EPILOGUE(lanes[l - whole], row, l));                  \
    }

FN T_r across_max(T_rv v) {
    float8 a = MAX_V(v.lo, v.hi);
    float4 b = MAX_V(a.lo, a.hi);
    float2 c = MAX_V(b.lo, b.hi);
    return MAX_V(c.x, c.y);
}
FN T_r across_sum(T_rv v) {
    float8 a = v.lo + v.hi;
    float4 b = a.lo + a.hi;
    float2 c = b.lo + b.hi;
    return c.x + c.y;
}

KERNEL_ENTRY {
    const int share = (rows + group_count(0) - 1) / group_count(0);
    const int begin = group_id(0) * share, end = min(rows, begin + share), whole = n / 16 * 16;
    T_rv kept[KEPT / 16];
    for (int row = begin; row < end; row++) {
        GPTR(const T) p = x + x_off + row * x_row;
        GPTR(OUT) q = y + row * n;
        T_rv top = (T_rv)(-A_INF), sum = (T_rv)(0), tail = top;
        if (n <= KEPT) {
            for (int c = 0; c < whole; c += 16) {
                const T_rv v = LOAD(c);
                kept[c / 16] = v;
                top = MAX_V(top, v);
            }
            if (whole < n) LOAD_END(tail)
            const T_rv high = (T_rv)(across_max(MAX_V(top, tail)));
            for (int c = 0; c < whole; c += 16) {
                const T_rv v = kept[c / 16] - high, e = a_exp(v);
                kept[c / 16] = SOFTMAX_KEEP(v, e);
                sum += e;
            }
            if (whole < n) {
                const T_rv v = tail - high, e = a_exp(v);
                tail = SOFTMAX_KEEP(v, e);
                sum += e;
            }
            const T_r scale = SOFTMAX_SCALE(across_sum(sum));
            for (int c = 0; c < whole; c += 16) {
                const T_rv k = kept[c / 16];
                OUT_store_v(q, c, EPILOGUE_V(SOFTMAX_RESULT(k, k, scale), row, c));
            }
            if (whole < n) STORE_END(SOFTMAX_RESULT(tail, tail, scale))
        } else {
            for (int c = 0; c < whole; c += 16) {
                const T_rv v = LOAD(c);
                top = MAX_V(top, v);
            }
            if (whole < n) LOAD_END(tail)
            const T_rv high = (T_rv)(across_max(MAX_V(top, tail)));
            for (int c = 0; c < whole; c += 16) sum += a_exp(LOAD(c) - high);
            tail = tail - high;
            const T_rv tail_exp = a_exp(tail);
            if (whole < n) sum += tail_exp;
            const T_r scale = SOFTMAX_SCALE(across_sum(sum));
            for (int c = 0; c < whole; c += 16) {
                const T_rv v = LOAD(c) - high;
                OUT_store_v(q, c, EPILOGUE_V(SOFTMAX_RESULT(v, a_exp(v), scale), row, c));
            }
            if (whole < n) STORE_END(SOFTMAX_RESULT(tail, tail_exp, scale))
        }
    }
}
