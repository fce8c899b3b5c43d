#include "common/grid_positions.h"

/* A work-item makes CHUNK elements' worth of output pixels; channels in vectors of 16. */
KERNEL_ENTRY {
    const int pixels = max(1, CHUNK / max(1, C));
    const int end = min(B * OH * OW, (group_id(0) + 1) * pixels);
    for (int p = group_id(0) * pixels; p < end; p++) {
        int ix[4], iy[4];
        float wx[4], wy[4];
        const int tx = grid_taps(grid_pixel(TG_load(grid, p * 2), W, align), W, mode, padding, align, ix, wx);
        const int ty = grid_taps(grid_pixel(TG_load(grid, p * 2 + 1), H, align), H, mode, padding, align, iy, wy);
        const int base = x_off + p / (OH * OW) * x_b;
        int c = 0;
        for (; c + 16 <= C; c += 16) {
            float16 sum = 0.0f;
            for (int j = 0; j < ty; j++)
                for (int i = 0; i < tx; i++)
                    if (iy[j] >= 0 && ix[i] >= 0)
                        sum += wy[j] * wx[i] * T_load_v(x, base + iy[j] * x_h + ix[i] * x_w + c);
            T_store_v(y, p * C + c, sum);
        }
        for (; c < C; c++) {
            float sum = 0.0f;
            for (int j = 0; j < ty; j++)
                for (int i = 0; i < tx; i++)
                    if (iy[j] >= 0 && ix[i] >= 0) sum += wy[j] * wx[i] * T_load(x, base + iy[j] * x_h + ix[i] * x_w + c);
            T_store(y, p * C + c, sum);
        }
    }
}
