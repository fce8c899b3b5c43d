/* Running combination over r of x[o, r, i], i contiguous: vectors along i.  A unit is 64 columns of one o; in the last
 * one a ragged vector is moved back to end at I and writes some values twice, or is done in scalars if too narrow. */
KERNEL_ENTRY {
    const int columns = (I + 63) / 64, units = O * columns;
    const int share = (units + group_count(0) - 1) / group_count(0);
    const int from = group_id(0) * share, to = min(units, from + share);
    for (int unit = from; unit < to; unit++) {
        const int o = unit / columns, i0 = unit % columns * 64;
        for (int done = i0; done < min(I, i0 + 64); done += 16) {
            const int i = max(min(done, I - 16), i0);
            const int width = min(16, I - i);
            GPTR(const T) p = x + x_off + o * x_o + i;
            GPTR(T) q = y + o * R * I + i;
            T_rv before = (T_rv)(SCAN_START);
            if (width == 16) {
                for (int k = 0; k < R; k++) {
                    const int r = reverse ? R - 1 - k : k;
                    const T_rv v = T_load_v(p, r * x_r), after = SCAN_JOIN(before, v);
                    T_store_v(q, r * I, exclusive ? before : after);
                    before = after;
                }
                continue;
            }
            for (int l = 0; l < width; l++) {
                T_r past = SCAN_START;
                for (int k = 0; k < R; k++) {
                    const int r = reverse ? R - 1 - k : k;
                    const T_r v = T_load(p, r * x_r + l), after = SCAN_JOIN(past, v);
                    T_store(q, r * I + l, exclusive ? past : after);
                    past = after;
                }
            }
        }
    }
}
