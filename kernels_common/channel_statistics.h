/* mean[n, c] and variance[n, c] from the means and squared distances of chunks of pixels, a work-item for each: the mean
 * of means first, then the squares and what each part's mean is off by.  Fixed order. */
#define BLOCK 32

KERNEL_ENTRY {
    const int unit = global_id(0);
    if (unit < N * C) {
        const int n = unit / C, at = n * S * 2 * C + unit % C;
        ACC_r total = 0, square = 0;
        for (int s0 = 0; s0 < S; s0 += BLOCK) {
            ACC_r sum = 0;
            for (int s = s0; s < min(S, s0 + BLOCK); s++)
                sum += part[at + s * 2 * C] * (ACC_r)(min(P, (s + 1) * chunk) - s * chunk);
            total += sum;
        }
        const ACC_r middle = total / (ACC_r)P;
        for (int s0 = 0; s0 < S; s0 += BLOCK) {
            ACC_r sum = 0;
            for (int s = s0; s < min(S, s0 + BLOCK); s++) {
                const ACC_r d = part[at + s * 2 * C] - middle;
                sum += part[at + (s * 2 + 1) * C] + d * d * (ACC_r)(min(P, (s + 1) * chunk) - s * chunk);
            }
            square += sum;
        }
        mean[unit] = middle;
        variance[unit] = square / (ACC_r)P;
    }
}
