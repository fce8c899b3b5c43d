#include "common/grid_positions.h"

KERNEL_ENTRY {
    const int at = group_id(0) * GROUP + local_id(0);
    if (at >= B * P * C) return;
    const int point = at / C;
    int ix[4], iy[4], iz[4];
    TG_r wx[4], wy[4], wz[4];
    const int tx = grid_taps(grid_pixel(TG_load(grid, point * 3), W, align), W, mode, padding, align, ix, wx);
    const int ty = grid_taps(grid_pixel(TG_load(grid, point * 3 + 1), H, align), H, mode, padding, align, iy, wy);
    const int tz = grid_taps(grid_pixel(TG_load(grid, point * 3 + 2), D, align), D, mode, padding, align, iz, wz);
    const int base = point / P * D;
    T_r sum = 0;
    for (int k = 0; k < tz; k++)
        for (int j = 0; j < ty; j++)
            for (int i = 0; i < tx; i++)
                if (iz[k] >= 0 && iy[j] >= 0 && ix[i] >= 0)
                    sum += wz[k] * wy[j] * wx[i] * T_load(x, (((base + iz[k]) * H + iy[j]) * W + ix[i]) * C + at % C);
    T_store(y, at, sum);
}
