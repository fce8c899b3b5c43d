/* mean[n, g], inv_std[n, g] from the means and squares of the chunks of each channel, one work-item per group (of
 * channels): the mean of means first, then squares plus what each part's mean is off by.  Fixed order. */
KERNEL_ENTRY {
    const int unit = global_id(0), width = C / G;
    if (unit < N * G) {
        const int n = unit / G, c0 = unit % G * width;
        const ACC_r count = (ACC_r)P * (ACC_r)width;
        ACC_r total = 0, square = 0;
        for (int s = 0; s < S; s++) {
            const int at = (n * S + s) * 2 * C + c0;
            ACC_r sum = 0;
            for (int c = 0; c < width; c++) sum += part[at + c];
            total += sum * (ACC_r)(min(P, (s + 1) * chunk) - s * chunk);
        }
        const ACC_r middle = total / count;
        for (int s = 0; s < S; s++) {
            const int at = (n * S + s) * 2 * C + c0;
            ACC_r inside = 0, between = 0;
            for (int c = 0; c < width; c++) {
                const ACC_r d = part[at + c] - middle;
                between += d * d;
                inside += part[at + C + c];
            }
            square += inside + between * (ACC_r)(min(P, (s + 1) * chunk) - s * chunk);
        }
        mean[unit] = middle;
        inv_std[unit] = 1 / sqrt(square / count + (ACC_r)eps);
    }
}
