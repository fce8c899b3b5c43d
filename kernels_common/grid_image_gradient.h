/* A thread collects one channel of one image from all positions, in their order: no two threads write one element. */
#include "common/grid_positions.h"

KERNEL_ENTRY {
    const int c = group_id(0) * 16 + local_id(0), b = group_id(1);
    if (c >= C) return;
    for (int i = 0; i < H * W; i++) dx[(b * H * W + i) * C + c] = 0;
    for (int p = 0; p < OH * OW; p++) {
        const int pixel = b * OH * OW + p;
        int ix[4], iy[4];
        TG_r wx[4], wy[4];
        const int tx = grid_taps(grid_pixel(TG_load(grid, pixel * 2), W, align), W, mode, padding, align, ix, wx);
        const int ty = grid_taps(grid_pixel(TG_load(grid, pixel * 2 + 1), H, align), H, mode, padding, align, iy, wy);
        const T_r coming = T_load(dy, pixel * C + c);
        for (int j = 0; j < ty; j++) {
            for (int i = 0; i < tx; i++) {
                if (iy[j] >= 0 && ix[i] >= 0) {
                    const int at = ((b * H + iy[j]) * W + ix[i]) * C + c;
                    dx[at] += wy[j] * wx[i] * coming;
                }
            }
        }
    }
}
