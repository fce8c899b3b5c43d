/* Where output position i (already shifted by the padding before) comes from along a dim of n positions; -1: fill value. */
FN int pad_map(int i, int n, int mode) {
    if (i >= 0 && i < n) return i;
    if (mode == 0) return -1;
    if (mode == 2) return i < 0 ? 0 : n - 1;
    if (mode == 3) {
        i %= n;
        return i < 0 ? i + n : i;
    }
    if (n == 1) return 0;
    const int period = 2 * (n - 1);
    i %= period;
    i = i < 0 ? i + period : i;
    return i < n ? i : period - i;
}
