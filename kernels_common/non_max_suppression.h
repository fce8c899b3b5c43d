/* Work-item l owns the boxes l, l + GROUP, ... and alone writes their flags; the flag of the next box is read by all after a
 * barrier, so that all keep the same one.  GROUP_BARRIER makes global memory visible within the group. */
FN int next_box(GPTR(int) keep, int from, int i, int count) {
    while (i < count && keep[from + i] == 0) i++;
    return i;
}

KERNEL_ENTRY {
    const int l = local_id(0), row = group_id(0), from = row * n;
    const int count = valid[row] < n ? valid[row] : n, most = limit[0];
    const T_r share = T_load(threshold, 0);
    for (int j = l; j < n; j += GROUP) keep[from + j] = j < count;
    GROUP_BARRIER();
    int kept = 0, i = next_box(keep, from, 0, count);
    while (i < count && kept < most) {
        const int at = (from + i) * 4;
        const T_r y0 = T_load(boxes, at), x0 = T_load(boxes, at + 1), y1 = T_load(boxes, at + 2), x1 = T_load(boxes, at + 3);
        const T_r own = (y1 - y0) * (x1 - x0);
        for (int j = l; j < count; j += GROUP) {
            if (j <= i || keep[from + j] == 0) continue;
            const int b = (from + j) * 4;
            const T_r v0 = T_load(boxes, b), u0 = T_load(boxes, b + 1), v1 = T_load(boxes, b + 2), u1 = T_load(boxes, b + 3);
            const T_r high = (y1 < v1 ? y1 : v1) - (y0 > v0 ? y0 : v0), wide = (x1 < u1 ? x1 : u1) - (x0 > u0 ? x0 : u0);
            const T_r area = (v1 - v0) * (u1 - u0);
            if (!(high > 0 && wide > 0 && own > 0 && area > 0)) continue;
            const T_r shared = high * wide, both = own + area - shared;
            if (shared > 0 && both > 0 && shared / both > share) keep[from + j] = 0;
        }
        GROUP_BARRIER();
        kept++;
        i = next_box(keep, from, i + 1, count);
    }
    GROUP_BARRIER(); /* nobody may still look for box i */
    for (int j = l; j < n; j += GROUP)
        if (j >= i) keep[from + j] = 0;
}
