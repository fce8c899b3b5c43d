/* a[n, c] and b[n, c]: sums of two numbers over the parts, a work-item for each channel.  Sums of up to BLOCK parts are
 * summed up in turn: long sums stay accurate. */
#define BLOCK 32

KERNEL_ENTRY {
    const int unit = global_id(0);
    if (unit < N * C) {
        const int n = unit / C, at = n * S * 2 * C + unit % C;
        T_r one = 0, two = 0;
        for (int s0 = 0; s0 < S; s0 += BLOCK) {
            const int stop = min(S, s0 + BLOCK);
            T_r first = 0, second = 0;
            for (int s = s0; s < stop; s++) {
                first += T_load(part, at + s * 2 * C);
                second += T_load(part, at + (s * 2 + 1) * C);
            }
            one += first;
            two += second;
        }
        T_store(a, a_off + unit, one);
        T_store(b, b_off + unit, two);
    }
}
