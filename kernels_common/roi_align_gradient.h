#include "common/roi_points.h"

/* Can points between `a` and `b` read `pixel`?  One more pixel than they can, so that rounding does not matter. */
FN int roi_near(RoiLine line, int first, int last, int pixel) {
    const TR_r a = line.start + first * line.step, b = line.start + last * line.step;
    return (a >= pixel - 2 || b >= pixel - 2) && (a <= pixel + 2 || b <= pixel + 2);
}

/* How much of `pixel` the points of a bin read, added up along one axis. */
FN T_r roi_share(RoiLine line, int bin, int pixel, int size) {
    T_r sum = 0;
    for (int p = 0; p < line.points; p++) {
        int low, high;
        T_r share;
        if (!roi_corners(line, bin, p, size, &low, &high, &share)) continue;
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
            const RoiBins across = roi_bins(x0, x1, OW, scale), down = roi_bins(y0, y1, OH, scale);
            if (v < roi_low(down, 0, H) || v >= roi_high(down, OH - 1, H)) continue;
            for (int i = 0; i < OH; i++) {
                const int v0 = roi_low(down, i, H), v1 = roi_high(down, i, H);
                if (v < v0 || v >= v1) continue;
                for (int j = 0; j < OW; j++) {
                    const int u0 = roi_low(across, j, W), u1 = roi_high(across, j, W);
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
        const RoiLine across = roi_line(x0, x1, OW, scale, samples, half_pixel);
        const RoiLine down = roi_line(y0, y1, OH, scale, samples, half_pixel);
        if (!roi_near(down, 0, OH, v) || !roi_near(across, 0, OW, u)) continue;
        for (int i = 0; i < OH; i++) {
            if (!roi_near(down, i, i + 1, v)) continue;
            const T_r above = roi_share(down, i, v, H);
            for (int j = 0; j < OW; j++) {
                if (!roi_near(across, j, j + 1, u)) continue;
                const T_r beside = roi_share(across, j, u, W);
                if (above == 0 || beside == 0) continue;
                T_r share = above * beside / (down.points * across.points);
                if (largest) { /* the first of the largest corners takes all */
                    T_r top = 0;
                    share = 0;
                    for (int p = 0; p < down.points; p++) {
                        int v0 = 0, v1 = 0;
                        T_r s = 0;
                        const int row_inside = roi_corners(down, i, p, H, &v0, &v1, &s);
                        for (int q = 0; q < across.points; q++) {
                            int u0 = 0, u1 = 0;
                            T_r t = 0;
                            const int inside = row_inside && roi_corners(across, j, q, W, &u0, &u1, &t);
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
