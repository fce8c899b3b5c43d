/* Index of the extreme over r of x[o, r, i], i contiguous: vectors along i.  A ragged last vector is moved back to
 * end at I; its lanes that belong to the vector before are not stored again. */
KERNEL_ENTRY {
    const int columns = (I + 63) / 64, units = O * columns;
    const int share = (units + group_count(0) - 1) / group_count(0);
    const int from = group_id(0) * share, to = min(units, from + share);
    for (int unit = from; unit < to; unit++) {
        const int o = unit / columns, i0 = unit % columns * 64;
        for (int done = i0; done < min(I, i0 + 64); done += 16) {
            const int i = min(done, I - 16);
            GPTR(const T) p = x + x_off + o * x_o + i;
            T_rv best = T_load_v(p, 0);
            int16 at = (int16)(0);
            for (int r = 1; r < R; r++) {
                const T_rv v = T_load_v(p, r * x_r);
                const int16 take = select_last ? ARG_REACHES(v, best) : ARG_BEATS(v, best);
                best = take ? v : best;
                at = take ? (int16)(r) : at;
            }
            if (i == done) {
                vstore16(convert_long16(at), 0, y + o * I + i);
            } else {
                int lanes[16];
                vstore16(at, 0, lanes);
                for (int l = done - i; l < 16; l++) y[o * I + i + l] = lanes[l];
            }
        }
    }
}
