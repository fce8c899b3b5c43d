#include "common/grid_positions.h"

KERNEL_ENTRY {
    const int at = group_id(0) * GROUP + local_id(0);
    if (at >= B * OH * OW * C) return;
    const int c = at % C;
    const int pixel = at / C;
    const int b = pixel / (OH * OW);
    int ix[4], iy[4];
    TG_r wx[4], wy[4];
    const int tx = grid_taps(grid_pixel(TG_load(grid, pixel * 2), W, align), W, mode, padding, align, ix, wx);
    const int ty = grid_taps(grid_pixel(TG_load(grid, pixel * 2 + 1), H, align), H, mode, padding, align, iy, wy);
    T_r sum = 0;
    for (int j = 0; j < ty; j++)
        for (int i = 0; i < tx; i++)
            if (iy[j] >= 0 && ix[i] >= 0)
                sum += wy[j] * wx[i] * T_load(x, x_off + b * x_b + iy[j] * x_h + ix[i] * x_w + c);
    T_store(y, at, sum);
}
