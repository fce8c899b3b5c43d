/* Index of the extreme of contiguous rows: the extreme itself first (it is a NaN if there is one), then the first or
 * last place that holds it.  Short rows, and those that do not lie side by side, are searched in scalars. */
KERNEL_ENTRY {
    const int units = O * I, share = (units + group_count(0) - 1) / group_count(0);
    const int begin = group_id(0) * share, end = min(units, begin + share);
    for (int unit = begin; unit < end; unit++) {
        if (R < 16 || x_r != 1) {
            GPTR(const T) p = x + x_off + unit / I * x_o + unit % I * x_i;
            T_r top = T_load(p, 0);
            int place = 0;
            for (int j = 1; j < R; j++) {
                const T_r v = T_load(p, j * x_r);
                const int take = select_last ? ARG_REACHES(v, top) : ARG_BEATS(v, top);
                top = take ? v : top;
                place = take ? j : place;
            }
            y[unit] = place;
            continue;
        }
        GPTR(const T) p = x + x_off + unit / I * x_o + unit % I * x_i;
        T_rv b0 = T_load_v(p, 0), b1 = b0;
        int r = 16;
        for (; r + 32 <= R; r += 32) {
            const T_rv v0 = T_load_v(p, r), v1 = T_load_v(p, r + 16);
            b0 = ARG_EXTREME(b0, v0);
            b1 = ARG_EXTREME(b1, v1);
        }
        if (r + 16 <= R) b0 = ARG_EXTREME(b0, T_load_v(p, r));
        b1 = ARG_EXTREME(b1, T_load_v(p, R - 16)); /* a ragged end: some values twice */
        T_r lanes[16];
        vstore16(ARG_EXTREME(b0, b1), 0, lanes);
        T_r best = lanes[0];
        for (int l = 1; l < 16; l++) best = ARG_EXTREME(best, lanes[l]);
        int at = -1;
        if (select_last) {
            for (r = R; at < 0; r -= 16) {
                const int low = max(r - 16, 0);
                const T_rv v = T_load_v(p, low);
                if (any((v == best) | ((v != v) & ((T_rv)(best) != (T_rv)(best)))))
                    for (int l = low + 15; at < 0; l--) {
                        const T_r w = T_load(p, l);
                        if (w == best || (w != w && best != best)) at = l;
                    }
            }
        } else {
            for (r = 0; at < 0; r += 16) {
                const int low = min(r, R - 16);
                const T_rv v = T_load_v(p, low);
                if (any((v == best) | ((v != v) & ((T_rv)(best) != (T_rv)(best)))))
                    for (int l = low; at < 0; l++) {
                        const T_r w = T_load(p, l);
                        if (w == best || (w != w && best != best)) at = l;
                    }
            }
        }
        y[unit] = at;
    }
}
