/* Softmax of contiguous rows in three sweeps of vectors.
 *
 * A row of up to KEPT values is held in a private array between the sweeps, so that loads and the prologue happen
 * once; a longer one is held in y where y keeps full precision, else read and exponentiated again.  A ragged end is the
 * last 16 values of the row once more, masked out of the sum where they were counted before; a row of less than 16 is
 * padded with -inf.  NaN need not be found by the maximum: it reaches every element through the sum. */
#include "exp_below.clh"

#define KEPT 2048
#define MAX_V(a, b) ((b) > (a) ? (b) : (a))
#define LOAD(c) PROLOGUE_V(T_load_v(p, c), row, c)
#define PUT(c, v) OUT_store_v(q, c, EPILOGUE_V(v, row, c))

FN T_r across_max(T_rv v) {
    const float8 a = MAX_V(v.lo, v.hi);
    const float4 b = MAX_V(a.lo, a.hi);
    const float2 c = MAX_V(b.lo, b.hi);
    return MAX_V(c.x, c.y);
}
FN T_r across_sum(T_rv v) {
    const float8 a = v.lo + v.hi;
    const float4 b = a.lo + a.hi;
    const float2 c = b.lo + b.hi;
    return c.x + c.y;
}

KERNEL_ENTRY {
    const int share = (rows + group_count(0) - 1) / group_count(0);
    const int begin = group_id(0) * share, end = min(rows, begin + share), whole = n / 16 * 16;
    const int16 lane = (int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const int16 fresh = lane >= 16 - (n - whole); /* lanes of the last 16 values that are in no whole vector */
    T_rv kept[KEPT / 16];
    for (int row = begin; row < end; row++) {
        GPTR(const T) p = x + x_off + row * x_row;
        GPTR(OUT) q = y + row * n;
        T_rv top = (T_rv)(-A_INF), sum = (T_rv)(0), tail = top;
        if (n < 16) {
            T_r lanes[16];
            vstore16(tail, 0, lanes);
            for (int l = 0; l < n; l++) lanes[l] = PROLOGUE(T_load(p, l), row, l);
            tail = vload16(0, lanes);
            tail -= across_max(tail);
            const T_rv e = exp_below(tail);
            const T_rv scale = SOFTMAX_SCALE((T_rv)(across_sum(e)));
            vstore16(SOFTMAX_RESULT(tail, e, scale), 0, lanes);
            for (int l = 0; l < n; l++) OUT_store(q, l, EPILOGUE(lanes[l], row, l));
            continue;
        }
        if (whole < n) tail = LOAD(n - 16);
        if (n <= KEPT) {
            for (int c = 0; c < whole; c += 16) {
                const T_rv v = LOAD(c);
                kept[c / 16] = v;
                top = MAX_V(top, v);
            }
        } else {
            for (int c = 0; c < whole; c += 16) {
                const T_rv v = LOAD(c);
                top = MAX_V(top, v);
            }
        }
        const T_rv high = (T_rv)(across_max(MAX_V(top, tail)));
        tail -= high;
        const T_rv tail_exp = exp_below(tail);
        if (whole < n) sum = fresh ? tail_exp : sum;
        if (n <= KEPT) {
            for (int c = 0; c < whole; c += 16) {
                const T_rv v = kept[c / 16] - high, e = exp_below(v);
                kept[c / 16] = SOFTMAX_KEEP(v, e);
                sum += e;
            }
            const T_rv scale = SOFTMAX_SCALE((T_rv)(across_sum(sum))); /* as vectors: a scalar log is slower */
            for (int c = 0; c < whole; c += 16) {
                const T_rv k = kept[c / 16];
                PUT(c, SOFTMAX_RESULT(k, k, scale));
            }
            if (whole < n) PUT(n - 16, SOFTMAX_RESULT(tail, tail_exp, scale));
        } else {
            const int hold = sizeof(OUT) == sizeof(T_r);
            for (int c = 0; c < whole; c += 16) {
                const T_rv v = LOAD(c) - high, e = exp_below(v);
                if (hold) OUT_store_v(q, c, SOFTMAX_KEEP(v, e));
                sum += e;
            }
            const T_rv scale = SOFTMAX_SCALE((T_rv)(across_sum(sum))); /* as vectors: a scalar log is slower */
            for (int c = 0; c < whole; c += 16) {
                if (hold) {
                    const T_rv k = OUT_load_v(q, c);
                    PUT(c, SOFTMAX_RESULT(k, k, scale));
                } else {
                    const T_rv v = LOAD(c) - high;
                    PUT(c, SOFTMAX_RESULT(v, exp_below(v), scale));
                }
            }
            if (whole < n) PUT(n - 16, SOFTMAX_RESULT(tail, tail_exp, scale));
        }
    }
}
