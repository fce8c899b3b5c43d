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
        const RoiBins across = roi_bins(x0, x1, OW, scale), down = roi_bins(y0, y1, OH, scale);
        const int v0 = roi_low(down, i, H), v1 = roi_high(down, i, H);
        const int u0 = roi_low(across, j, W), u1 = roi_high(across, j, W);
        T_r best = 0;
        for (int v = v0; v < v1; v++)
            for (int u = u0; u < u1; u++) {
                const T_r value = T_load(x, base + (v * W + u) * C);
                best = (v == v0 && u == u0) || value > best ? value : best;
            }
        T_store(y, at, best);
        return;
    }
    const RoiLine across = roi_line(x0, x1, OW, scale, samples, half_pixel);
    const RoiLine down = roi_line(y0, y1, OH, scale, samples, half_pixel);
    T_r sum = 0, top = 0;
    for (int p = 0; p < down.points; p++) {
        int v0 = 0, v1 = 0;
        T_r v = 0;
        const int row_inside = roi_corners(down, i, p, H, &v0, &v1, &v);
        for (int q = 0; q < across.points; q++) {
            int u0, u1;
            T_r u, points[4] = {0, 0, 0, 0};
            if (row_inside && roi_corners(across, j, q, W, &u0, &u1, &u)) {
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
    const int count = down.points * across.points > 1 ? down.points * across.points : 1;
    T_store(y, at, largest ? top : sum / count);
}
