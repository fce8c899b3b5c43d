/* Gradient of layer and RMS normalisation: a work-item takes whole parts, ROWS rows at a time.
 *
 * Each row is swept for its statistics and then lies in the cache; one more sweep along the columns makes dx of all ROWS
 * rows and adds what they give to the parameters' sums, which so are loaded and stored once for all of them. */
#define ROWS 4

FN T_r across_sum(T_rv v) {
    const float8 a = v.lo + v.hi;
    const float4 b = a.lo + a.hi;
    const float2 c = b.lo + b.hi;
    return c.x + c.y;
}

KERNEL_ENTRY {
    const int share = (S + group_count(0) - 1) / group_count(0), whole = n / 16 * 16;
    const int from = group_id(0) * share, to = min(S, from + share);
    const T_r one = 1 / (T_r)n;
    T_r mean[ROWS], scale[ROWS], first[ROWS], second[ROWS];
    for (int unit = from; unit < to; unit++) {
        const int start = unit * chunk, stop = min(rows, start + chunk);
        GPTR(ACC) q = part + unit * 2 * n;
        for (int row0 = start; row0 < stop; row0 += ROWS) {
            const int count = min(ROWS, stop - row0);
            for (int k = 0; k < count; k++) {
                const int row = row0 + k;
                GPTR(const T) p = x + x_off + row * x_row;
                GPTR(const T) w = g + g_off + row * g_row;
                T_r middle = 0;
#if NORM_CENTER
                {
                    T_rv a0 = (T_rv)(0), a1 = a0;
                    int c = 0;
                    for (; c + 32 <= whole; c += 32) {
                        a0 += T_load_v(p, c);
                        a1 += T_load_v(p, c + 16);
                    }
                    if (c < whole) a0 += T_load_v(p, c);
                    middle = across_sum(a0 + a1);
                    for (c = whole; c < n; c++) middle += T_load(p, c);
                    middle *= one;
                }
#endif
                T_rv squares = (T_rv)(0), sums = squares, dots = squares;
                for (int c = 0; c < whole; c += 16) {
                    const T_rv d = T_load_v(p, c) - middle, h = WEIGHT_V(T_load_v(w, c), row, c);
                    squares += d * d;
                    dots += d * h;
#if NORM_CENTER
                    sums += h;
#endif
                }
                T_r square = across_sum(squares), sum = across_sum(sums), dot = across_sum(dots);
                for (int c = whole; c < n; c++) {
                    const T_r d = T_load(p, c) - middle, h = WEIGHT(T_load(w, c), row, c);
                    square += d * d;
                    dot += d * h;
#if NORM_CENTER
                    sum += h;
#endif
                }
                const T_r r = 1 / sqrt(square * one + (T_r)eps);
                mean[k] = middle;
                scale[k] = r;
                first[k] = sum * one;
                second[k] = dot * one * r * r;
            }
            for (int c = 0; c < whole; c += 16) {
                T_rv a = (T_rv)(0), b = a;
                if (row0 > start) {
                    a = ACC_load_v(q, c);
                    b = ACC_load_v(q, n + c);
                }
                for (int k = 0; k < count; k++) {
                    const int row = row0 + k;
                    const T_rv v = T_load_v(g, g_off + row * g_row + c), h = WEIGHT_V(v, row, c);
                    const T_rv d = T_load_v(x, x_off + row * x_row + c) - mean[k];
                    a += v * (d * scale[k]);
                    b += v;
                    OUT_store_v(dx, row * n + c, EPILOGUE_V((h - first[k] - d * second[k]) * scale[k], row, c));
                }
                ACC_store_v(q, c, a);
                ACC_store_v(q, n + c, b);
            }
            for (int c = whole; c < n; c++) {
                T_r a = 0, b = 0;
                if (row0 > start) {
                    a = ACC_load(q, c);
                    b = ACC_load(q, n + c);
                }
                for (int k = 0; k < count; k++) {
                    const int row = row0 + k;
                    const T_r v = T_load(g, g_off + row * g_row + c), h = WEIGHT(v, row, c);
                    const T_r d = T_load(x, x_off + row * x_row + c) - mean[k];
                    a += v * (d * scale[k]);
                    b += v;
                    OUT_store(dx, row * n + c, EPILOGUE((h - first[k] - d * second[k]) * scale[k], row, c));
                }
                ACC_store(q, c, a);
                ACC_store(q, n + c, b);
            }
        }
    }
}
