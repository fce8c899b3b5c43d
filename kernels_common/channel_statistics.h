/* mean[n, c] and variance[n, c] from the means and squared distances of chunks of pixels, a work-item for each: the mean
 * of means first, then the squares and what each part's mean is off by.  Fixed order. */
#define BLOCK 32

KERNEL_ENTRY {
    const int unit = global_id(0);
    if (unit < N * C) {
        const int n = unit / C, at = n * S * 2 * C + unit % C;
        float total = 0, square = 0;
        for (int s0 = 0; s0 < S; s0 += BLOCK) {
            float sum = 0;
            for (int s = s0; s < min(S, s0 + BLOCK); s++)
                sum += part[at + s * 2 * C] * (float)(min(P, (s + 1) * chunk) - s * chunk);
            total += sum;
        }
        const float middle = total / (float)P;
        for (int s0 = 0; s0 < S; s0 += BLOCK) {
            float sum = 0;
            for (int s = s0; s < min(S, s0 + BLOCK); s++) {
                const float d = part[at + s * 2 * C] - middle;
                sum += part[at + (s * 2 + 1) * C] + d * d * (float)(min(P, (s + 1) * chunk) - s * chunk);
            }
            square += sum;
        }
        mean[unit] = middle;
        variance[unit] = square / (float)P;
    }
}
