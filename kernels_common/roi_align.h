#include "common/roi_points.h"

KERNEL_ENTRY {
    const int at = group_id(0) * GROUP + local_id(0);
    if (at >= R * OH * OW * C) return;
    const int c = at % C, j = at / C % OW, i = at / C / OW % OH, r = at / C / OW / OH;
    const int which = image[r] < 0 ? 0 : (image[r] < B ? image[r] : B - 1);
    const int base = which * H * W * C + c;
    const TR_r x0 = TR_load(rois, r * 4), y0 = TR_load(rois, r * 4 + 1);
    const TR_r x1 = TR_load(rois, r * 4 + 2), y1 = TR_load(rois, r * 4 + 3);
    if (largest == 2) {
        const int left = roi_pixel(x0 * scale), above = roi_pixel(y0 * scale);
        const TR_r across = roi_width(left, roi_pixel(x1 * scale), OW);
        const TR_r down = roi_width(above, roi_pixel(y1 * scale), OH);
        const int v0 = roi_low(above, down, i, H), v1 = roi_high(above, down, i, H);
        const int u0 = roi_low(left, across, j, W), u1 = roi_high(left, across, j, W);
        T_r best = 0;
        for (int v = v0; v < v1; v++)
            for (int u = u0; u < u1; u++) {
                const T_r value = T_load(x, base + (v * W + u) * C);
                best = (v == v0 && u == u0) || value > best ? value : best;
            }
        T_store(y, at, best);
        return;
    }
    const TR_r left = roi_start(x0, scale, half_pixel), across = roi_step(x0, x1, OW, scale, half_pixel);
    const TR_r above = roi_start(y0, scale, half_pixel), down = roi_step(y0, y1, OH, scale, half_pixel);
    const int columns = roi_points(across, samples), rows = roi_points(down, samples);
    T_r sum = 0, top = 0;
    for (int p = 0; p < rows; p++) {
        int v0 = 0, v1 = 0;
        T_r v = 0;
        const int row_inside = roi_corners(above, down, rows, i, p, H, &v0, &v1, &v);
        for (int q = 0; q < columns; q++) {
            int u0, u1;
            T_r u, points[4] = {0, 0, 0, 0};
            if (row_inside && roi_corners(left, across, columns, j, q, W, &u0, &u1, &u)) {
                points[0] = (1 - v) * (1 - u) * T_load(x, base + (v0 * W + u0) * C);
                points[1] = (1 - v) * u * T_load(x, base + (v0 * W + u1) * C);
                points[2] = v * (1 - u) * T_load(x, base + (v1 * W + u0) * C);
                points[3] = v * u * T_load(x, base + (v1 * W + u1) * C);
            }
            for (int k = 0; k < 4; k++) {
                sum += points[k];
                top = (p == 0 && q == 0 && k == 0) || points[k] > top ? points[k] : top;
            }
        }
    }
    const int count = rows * columns > 1 ? rows * columns : 1;
    T_store(y, at, largest ? top : sum / count);
}
