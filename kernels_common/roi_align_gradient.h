#include "common/roi_points.h"

/* Can points between `a` and `b` read `pixel`?  One more pixel than they can, so that rounding does not matter. */
FN int roi_near(TR_r start, TR_r step, int first, int last, int pixel) {
    const TR_r a = start + first * step, b = start + last * step;
    return (a >= pixel - 2 || b >= pixel - 2) && (a <= pixel + 2 || b <= pixel + 2);
}

/* How much of `pixel` the points of a bin read, added up along one axis. */
FN T_r roi_share(TR_r start, TR_r step, int points, int bin, int pixel, int size) {
    T_r sum = 0;
    for (int p = 0; p < points; p++) {
        int low, high;
        T_r share;
        if (!roi_corners(start, step, points, bin, p, size, &low, &high, &share)) continue;
        if (low == pixel) sum += 1 - share;
        if (high == pixel) sum += share;
    }
    return sum;
}

/* One work-item for each number of the image: it asks the bins near it, so no sum depends on what ends first. */
KERNEL_ENTRY {
    const int at = group_id(0) * GROUP + local_id(0);
    if (at >= B * H * W * C) return;
    const int c = at % C, u = at / C % W, v = at / C / W % H, b = at / C / W / H;
    const int base = b * H * W * C + c;
    T_r sum = 0;
    for (int r = 0; r < R; r++) {
        const int which = image[r] < 0 ? 0 : (image[r] < B ? image[r] : B - 1);
        if (which != b) continue;
        const TR_r x0 = TR_load(rois, r * 4), y0 = TR_load(rois, r * 4 + 1);
        const TR_r x1 = TR_load(rois, r * 4 + 2), y1 = TR_load(rois, r * 4 + 3);
        if (largest == 2) {
            const int left = roi_pixel(x0 * scale), above = roi_pixel(y0 * scale);
            const TR_r across = roi_width(left, roi_pixel(x1 * scale), OW);
            const TR_r down = roi_width(above, roi_pixel(y1 * scale), OH);
            if (v < roi_low(above, down, 0, H) || v >= roi_high(above, down, OH - 1, H)) continue;
            for (int i = 0; i < OH; i++) {
                const int v0 = roi_low(above, down, i, H), v1 = roi_high(above, down, i, H);
                if (v < v0 || v >= v1) continue;
                for (int j = 0; j < OW; j++) {
                    const int u0 = roi_low(left, across, j, W), u1 = roi_high(left, across, j, W);
                    if (u < u0 || u >= u1) continue;
                    T_r best = 0;
                    int top = -1;
                    for (int p = v0; p < v1; p++)
                        for (int q = u0; q < u1; q++) {
                            const T_r value = T_load(x, base + (p * W + q) * C);
                            if (top >= 0 && !(value > best)) continue;
                            best = value;
                            top = p * W + q;
                        }
                    if (top == v * W + u) sum += T_load(dy, ((r * OH + i) * OW + j) * C + c);
                }
            }
            continue;
        }
        const TR_r left = roi_start(x0, scale, half_pixel), across = roi_step(x0, x1, OW, scale, half_pixel);
        const TR_r above = roi_start(y0, scale, half_pixel), down = roi_step(y0, y1, OH, scale, half_pixel);
        const int columns = roi_points(across, samples), rows = roi_points(down, samples);
        if (!roi_near(above, down, 0, OH, v) || !roi_near(left, across, 0, OW, u)) continue;
        for (int i = 0; i < OH; i++) {
            if (!roi_near(above, down, i, i + 1, v)) continue;
            const T_r tall = roi_share(above, down, rows, i, v, H);
            for (int j = 0; j < OW; j++) {
                if (!roi_near(left, across, j, j + 1, u)) continue;
                const T_r wide = roi_share(left, across, columns, j, u, W);
                if (tall == 0 || wide == 0) continue;
                T_r share = tall * wide / (rows * columns);
                if (largest) { /* the first of the largest corners takes all */
                    T_r top = 0;
                    share = 0;
                    for (int p = 0; p < rows; p++) {
                        int v0 = 0, v1 = 0;
                        T_r s = 0;
                        const int row_inside = roi_corners(above, down, rows, i, p, H, &v0, &v1, &s);
                        for (int q = 0; q < columns; q++) {
                            int u0 = 0, u1 = 0;
                            T_r t = 0;
                            const int inside = row_inside && roi_corners(left, across, columns, j, q, W, &u0, &u1, &t);
                            for (int k = 0; k < 4; k++) {
                                const int pv = k < 2 ? v0 : v1, pu = k % 2 ? u1 : u0;
                                const T_r weight = inside ? (k < 2 ? 1 - s : s) * (k % 2 ? t : 1 - t) : 0;
                                const T_r value = inside ? weight * T_load(x, base + (pv * W + pu) * C) : 0;
                                if (p + q + k > 0 && !(value > top)) continue;
                                top = value;
                                share = inside && pv == v && pu == u ? weight : 0;
                            }
                        }
                    }
                }
                if (share != 0) sum += share * T_load(dy, ((r * OH + i) * OW + j) * C + c);
            }
        }
    }
    T_store(dx, at, sum);
}
