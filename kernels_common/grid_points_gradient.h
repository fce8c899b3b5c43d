/* A thread makes the gradient of one position of the grid. */
#include "common/grid_positions.h"
#include "common/grid_slopes.h"

KERNEL_ENTRY {
    const int pixel = group_id(0) * GROUP + local_id(0);
    if (pixel >= B * OH * OW) return;
    const int base = pixel / (OH * OW) * H * W;
    int ix[4], iy[4];
    TG_r wx[4], wy[4], ex[4], ey[4];
    const int tx = grid_slopes(TG_load(grid, pixel * 2), W, mode, padding, align, ix, wx, ex);
    const int ty = grid_slopes(TG_load(grid, pixel * 2 + 1), H, mode, padding, align, iy, wy, ey);
    TG_r to_x = 0.0f, to_y = 0;
    for (int j = 0; j < ty; j++) {
        for (int i = 0; i < tx; i++) {
            if (iy[j] >= 0 && ix[i] >= 0) {
                const int at = (base + iy[j] * W + ix[i]) * C;
                T_r met = 0;
                for (int c = 0; c < C; c++) met += T_load(x, at + c) * T_load(dy, pixel * C + c);
                to_x += wy[j] * ex[i] * met;
                to_y += ey[j] * wx[i] * met;
            }
        }
    }
    TG_store(dgrid, pixel * 2, to_x);
    TG_store(dgrid, pixel * 2 + 1, to_y);
}
