/* Softmax cross-entropy of rows: each block of a row is swept for its largest value and, in the cache by then, for the sum
 * of exponentials against the largest value so far.  A ragged end is padded with -inf (targets with 0). */
#include "exp_below.clh"
#define BLOCK 2048

FN T_r across_max(T_rv v) {
    const float8 a = v.lo > v.hi ? v.lo : v.hi;
    const float4 b = a.lo > a.hi ? a.lo : a.hi;
    const float2 c = b.lo > b.hi ? b.lo : b.hi;
    return c.x > c.y ? c.x : c.y;
}
FN T_r across_sum(T_rv v) {
    const float8 a = v.lo + v.hi;
    const float4 b = a.lo + a.hi;
    const float2 c = b.lo + b.hi;
    return c.x + c.y;
}
FN T_rv last_lanes(GPTR(const T) p, int count, T_r rest) {
    T_r lanes[16];
    vstore16((T_rv)(rest), 0, lanes);
    for (int l = 0; l < count; l++) lanes[l] = T_load(p, l);
    return vload16(0, lanes);
}

KERNEL_ENTRY {
    const int share = (rows + group_count(0) - 1) / group_count(0);
    const int begin = group_id(0) * share, end = min(rows, begin + share), whole = n / 16 * 16;
    for (int row = begin; row < end; row++) {
        GPTR(const T) p = x + x_off + row * x_row;
#ifdef CROSS_DENSE
        GPTR(const T) u = target + t_off + row * t_row;
        T_r taken = 0, dot = 0; /* sum of t, and of t (x - base) */
#endif
        T_r top = -A_INF, base = 0, sum = 0;
        for (int c0 = 0; c0 < n; c0 += BLOCK) {
            const int stop = min(whole, c0 + BLOCK), ends = n <= c0 + BLOCK && whole < n;
            T_rv high0 = (T_rv)(-A_INF), high1 = high0, tail = high0;
            if (ends) tail = last_lanes(p + whole, n - whole, -A_INF);
            int c = c0;
            for (; c + 32 <= stop; c += 32) {
                const T_rv v0 = T_load_v(p, c), v1 = T_load_v(p, c + 16);
                high0 = v0 > high0 ? v0 : high0;
                high1 = v1 > high1 ? v1 : high1;
            }
            if (c < stop) {
                const T_rv v = T_load_v(p, c);
                high0 = v > high0 ? v : high0;
            }
            high0 = high1 > high0 ? high1 : high0;
            const T_r high = across_max(tail > high0 ? tail : high0), before = base;
            top = high > top ? high : top;
            base = top == -A_INF ? 0 : top;
            if (sum != 0) sum *= a_exp(before - base);
            T_rv sum0 = (T_rv)(0), sum1 = sum0;
#ifdef CROSS_DENSE
            T_rv taken0 = sum0, dot0 = sum0;
            if (taken != 0) dot += taken * (before - base);
#define TAKE(v, values)                                                                                       \
    {                                                                                                         \
        const T_rv t = values;                                                                                \
        taken0 += t;                                                                                          \
        dot0 += t == 0 ? (T_rv)(0) : t * (v);                                                                 \
    }
#else
#define TAKE(v, values)
#endif
            for (c = c0; c + 32 <= stop; c += 32) {
                const T_rv v0 = T_load_v(p, c) - base, v1 = T_load_v(p, c + 16) - base;
                sum0 += exp_below(v0);
                sum1 += exp_below(v1);
                TAKE(v0, T_load_v(u, c))
                TAKE(v1, T_load_v(u, c + 16))
            }
            if (c < stop) {
                const T_rv v = T_load_v(p, c) - base;
                sum0 += exp_below(v);
                TAKE(v, T_load_v(u, c))
            }
            if (ends) {
                const T_rv v = tail - base;
                sum1 += exp_below(v);
                TAKE(v, last_lanes(u + whole, n - whole, 0))
            }
            sum += across_sum(sum0 + sum1);
#ifdef CROSS_DENSE
            taken += across_sum(taken0);
            dot += across_sum(dot0);
#endif
        }
        const T_r rest = a_log(sum);
        ACC_store(lse, row, rest + base);
#ifdef CROSS_DENSE
        ACC_store(loss, row, taken * rest - dot);
        ACC_store(weight, row, taken);
#else
        const long label = (long)target[row];
        T_r found = A_NAN;
        if (label >= 0 && label < n) found = rest - (T_load(p, (int)label) - base);
        ACC_store(loss, row, label == ignored ? 0 : found);
        ACC_store(weight, row, label == ignored ? 0 : 1);
#endif
    }
}
