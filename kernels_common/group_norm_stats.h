/* mean[n, g], inv_std[n, g] from the means and squares of the chunks of each channel, one work-item per group (of
 * channels): the mean of means first, then squares plus what each part's mean is off by.  Fixed order. */
KERNEL_ENTRY {
    const int unit = global_id(0), width = C / G;
    if (unit < N * G) {
        const int n = unit / G, c0 = unit % G * width;
        const float count = (float)P * (float)width;
        float total = 0, square = 0;
        for (int s = 0; s < S; s++) {
            const int at = (n * S + s) * 2 * C + c0;
            float sum = 0;
            for (int c = 0; c < width; c++) sum += part[at + c];
            total += sum * (float)(min(P, (s + 1) * chunk) - s * chunk);
        }
        const float middle = total / count;
        for (int s = 0; s < S; s++) {
            const int at = (n * S + s) * 2 * C + c0;
            float inside = 0, between = 0;
            for (int c = 0; c < width; c++) {
                const float d = part[at + c] - middle;
                between += d * d;
                inside += part[at + C + c];
            }
            square += inside + between * (float)(min(P, (s + 1) * chunk) - s * chunk);
        }
        mean[unit] = middle;
        inv_std[unit] = 1 / sqrt(square / count + eps);
    }
}
