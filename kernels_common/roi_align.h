#define MOST_SAMPLES 32768

/* How many points a bin of `step` pixels has. */
FN int roi_points(TR_r step, int samples) {
    const TR_r most = ceil(step);
    if (samples > 0) return samples;
    return most > 0 ? (most < MOST_SAMPLES ? (int)most : MOST_SAMPLES) : 0;
}

FN int roi_pixel(TR_r v) { return (int)(v < 0 ? -floor((TR_r)0.5f - v) : floor(v + (TR_r)0.5f)); }

/* MaxRoiPool: bins of whole pixels, which may share some. */
FN int roi_low(int bin, TR_r step, int start, int size) {
    const int low = (int)floor(bin * step) + start;
    return low < 0 ? 0 : (low < size ? low : size);
}
FN int roi_high(int bin, TR_r step, int start, int size) {
    const int high = (int)ceil((bin + 1) * step) + start;
    return high < 0 ? 0 : (high < size ? high : size);
}

KERNEL_ENTRY {
    const int at = group_id(0) * GROUP + local_id(0);
    if (at >= R * OH * OW * C) return;
    const int c = at % C, j = at / C % OW, i = at / C / OW % OH, r = at / C / OW / OH;
    const int which = image[r] < 0 ? 0 : (image[r] < B ? image[r] : B - 1);
    const int base = which * H * W * C + c;
    if (largest == 2) {
        const int left = roi_pixel(TR_load(rois, r * 4) * scale), above = roi_pixel(TR_load(rois, r * 4 + 1) * scale);
        const int right = roi_pixel(TR_load(rois, r * 4 + 2) * scale);
        const int below = roi_pixel(TR_load(rois, r * 4 + 3) * scale);
        const TR_r across = (TR_r)(right > left ? right - left + 1 : 1) / OW;
        const TR_r down = (TR_r)(below > above ? below - above + 1 : 1) / OH;
        const int v0 = roi_low(i, down, above, H), v1 = roi_high(i, down, above, H);
        const int u0 = roi_low(j, across, left, W), u1 = roi_high(j, across, left, W);
        T_r best = 0;
        for (int v = v0; v < v1; v++)
            for (int u = u0; u < u1; u++) {
                const T_r value = T_load(x, base + (v * W + u) * C);
                best = (v == v0 && u == u0) || value > best ? value : best;
            }
        T_store(y, at, best);
        return;
    }
    const TR_r offset = half_pixel ? (TR_r)0.5f : (TR_r)0;
    const TR_r x0 = TR_load(rois, r * 4) * scale - offset, y0 = TR_load(rois, r * 4 + 1) * scale - offset;
    TR_r wide = TR_load(rois, r * 4 + 2) * scale - offset - x0, high = TR_load(rois, r * 4 + 3) * scale - offset - y0;
    if (!half_pixel && !(wide > 1)) wide = 1;
    if (!half_pixel && !(high > 1)) high = 1;
    const TR_r step_x = wide / OW, step_y = high / OH;
    const int rows = roi_points(step_y, samples), columns = roi_points(step_x, samples);
    T_r sum = 0, top = 0;
    for (int p = 0; p < rows; p++) {
        TR_r v = y0 + i * step_y + (p + (TR_r)0.5f) * step_y / rows;
        const int row_inside = v >= -1 && v <= H;
        v = v > 0 ? v : 0;
        int v0 = row_inside ? (int)v : 0, v1 = v0 + 1;
        if (v0 >= H - 1) {
            v0 = v1 = H - 1;
            v = v0;
        }
        const T_r down = (T_r)(v - v0);
        for (int q = 0; q < columns; q++) {
            TR_r u = x0 + j * step_x + (q + (TR_r)0.5f) * step_x / columns;
            T_r points[4] = {0, 0, 0, 0};
            if (row_inside && u >= -1 && u <= W) {
                u = u > 0 ? u : 0;
                int u0 = (int)u, u1 = u0 + 1;
                if (u0 >= W - 1) {
                    u0 = u1 = W - 1;
                    u = u0;
                }
                const T_r right = (T_r)(u - u0);
                points[0] = (1 - down) * (1 - right) * T_load(x, base + (v0 * W + u0) * C);
                points[1] = (1 - down) * right * T_load(x, base + (v0 * W + u1) * C);
                points[2] = down * (1 - right) * T_load(x, base + (v1 * W + u0) * C);
                points[3] = down * right * T_load(x, base + (v1 * W + u1) * C);
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
