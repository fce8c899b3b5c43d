/* Positions of grid_sample: from [-1, 1] to pixels, padding rules, cubic weights, in the arithmetic of the grid's type. */

/* float arithmetic without contraction is what decides which pixel is nearest; keep this order of operations */
FN TG_r grid_pixel(TG_r g, int size, int align) {
    g = g != g ? -1.0f : g;
    return align ? (g + 1.0f) * 0.5f * (TG_r)(size - 1) : ((g + 1.0f) * (TG_r)size - 1.0f) * 0.5f;
}

FN TG_r grid_clamp(TG_r p, TG_r low, TG_r high) { return p < low ? low : (p > high ? high : p); }

/* border and reflection bring a position inside; zeros leaves it */
FN TG_r grid_place(TG_r p, int size, int padding, int align) {
    if (padding == 0) return p;
    if (padding == 2) {
        const TG_r low = align ? 0.0f : -0.5f;
        const TG_r span = align ? (TG_r)(size - 1) : (TG_r)size;
        if (span <= 0.0f) return 0.0f;
        p = fmod(fabs(p - low), 2.0f * span);
        p = (p > span ? 2.0f * span - p : p) + low;
    }
    return grid_clamp(p, 0.0f, (TG_r)(size - 1));
}

/* pixel number of an integral position; -1 outside (zeros) */
FN int grid_index(TG_r p, int size, int padding, int align) {
    p = grid_place(p, size, padding, align);
    return (p >= 0.0f && p <= (TG_r)(size - 1)) ? (int)rint(p) : -1;
}

FN TG_r grid_cubic_near(TG_r t) { return ((1.25f * t - 2.25f) * t) * t + 1.0f; }
FN TG_r grid_cubic_far(TG_r t) { return ((-0.75f * t + 3.75f) * t - 6.0f) * t + 3.0f; }

/* taps of one axis: returns how many, their pixel numbers and weights */
FN int grid_taps(TG_r p, int size, int mode, int padding, int align, int *index, TG_r *weight) {
    if (mode == 2) {
        const TG_r first = floor(p);
        const TG_r t = p - first;
        weight[0] = grid_cubic_far(t + 1.0f);
        weight[1] = grid_cubic_near(t);
        weight[2] = grid_cubic_near(1.0f - t);
        weight[3] = grid_cubic_far(2.0f - t);
        for (int k = 0; k < 4; k++) index[k] = grid_index(first - 1.0f + (TG_r)k, size, padding, align);
        return 4;
    }
    p = grid_place(p, size, padding, align);
    if (mode == 1) {
        weight[0] = 1.0f;
        index[0] = grid_index(rint(p), size, padding, align);
        return 1;
    }
    const TG_r first = floor(p);
    const TG_r t = p - first;
    weight[0] = 1.0f - t;
    weight[1] = t;
    index[0] = grid_index(first, size, padding, align);
    index[1] = grid_index(first + 1.0f, size, padding, align);
    return 2;
}
