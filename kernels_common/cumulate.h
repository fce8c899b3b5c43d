/* Running combination over r of x[o, r, i]: LANES work-items share a row, each block of LANES values scanned in local
 * memory on top of what came before.  With LANES 1 a work-item walks its row alone. */
KERNEL_ENTRY {
    const int lid = local_id(0), mine = lid / LANES, lane = lid % LANES;
    const int unit = group_id(0) * TEAMS + mine, live = unit < O * I;
    const int o = live ? unit / I : 0, i = live ? unit % I : 0;
    const int from = x_off + o * x_o + i * x_i, to = o * R * I + i;
    T_r before = SCAN_START;
#if LANES == 1
    if (live)
        for (int k = 0; k < R; k++) {
            const int r = reverse ? R - 1 - k : k;
            const T_r v = T_load(x, from + r * x_r), after = SCAN_JOIN(before, v);
            T_store(y, to + r * I, exclusive ? before : after);
            before = after;
        }
#else
    LOCAL_ARRAY(T_r, line, LANES * TEAMS);
    for (int k0 = 0; k0 < R; k0 += LANES) {
        const int k = k0 + lane, r = reverse ? R - 1 - k : k, inside = live && k < R;
        line[lid] = inside ? T_load(x, from + r * x_r) : (T_r)(SCAN_START);
        local_barrier();
        for (int h = 1; h < LANES; h *= 2) {
            const T_r v = lane >= h ? SCAN_JOIN(line[lid - h], line[lid]) : line[lid];
            local_barrier();
            line[lid] = v;
            local_barrier();
        }
        const T_r left = exclusive ? (lane ? line[lid - 1] : (T_r)(SCAN_START)) : line[lid];
        if (inside) T_store(y, to + r * I, SCAN_JOIN(before, left));
        before = SCAN_JOIN(before, line[mine * LANES + LANES - 1]);
        local_barrier();
    }
#endif
}
