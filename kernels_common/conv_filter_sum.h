/* One thread adds up the parts of one element, the first part first; neighbours along output channels. */
KERNEL_ENTRY {
    const int at = group_id(0) * GROUP + local_id(0);
    if (at < groups * taps * cg * og) {
        const int row = at / og, o = at - row * og, slab = row / cg, c = row - slab * cg, g = slab / taps, t = slab - g * taps;
        const int step = groups * taps * cg * w_ld;
        ACC_r sum = (ACC_r)0;
        for (int s = 0, from = row * w_ld + o; s < splits; s++, from += step) sum += ACC_load(parts, from);
        T_store(dw, dw_off + ((g * og + o) * cg + c) * taps + t, (T_r)sum);
    }
}
