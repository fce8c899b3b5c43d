/* Positions of grid_sample: from [-1, 1] to pixels, padding rules, cubic weights. */

/* float arithmetic without contraction is what decides which pixel is nearest; keep this order of operations */
FN float grid_pixel(float g, int size, int align) {
    g = g != g ? -1.0f : g;
    return align ? (g + 1.0f) * 0.5f * (float)(size - 1) : ((g + 1.0f) * (float)size - 1.0f) * 0.5f;
}

FN float grid_clamp(float p, float low, float high) { return p < low ? low : (p > high ? high : p); }

/* border and reflection bring a position inside; zeros leaves it */
FN float grid_place(float p, int size, int padding, int align) {
    if (padding == 0) return p;
    if (padding == 2) {
        const float low = align ? 0.0f : -0.5f;
        const float span = align ? (float)(size - 1) : (float)size;
        if (span <= 0.0f) return 0.0f;
        p = fmod(fabs(p - low), 2.0f * span);
        p = (p > span ? 2.0f * span - p : p) + low;
    }
    return grid_clamp(p, 0.0f, (float)(size - 1));
}

/* pixel number of an integral position; -1 outside (zeros) */
FN int grid_index(float p, int size, int padding, int align) {
    p = grid_place(p, size, padding, align);
    return (p >= 0.0f && p <= (float)(size - 1)) ? (int)rint(p) : -1;
}

FN float grid_cubic_near(float t) { return ((1.25f * t - 2.25f) * t) * t + 1.0f; }
FN float grid_cubic_far(float t) { return ((-0.75f * t + 3.75f) * t - 6.0f) * t + 3.0f; }

/* taps of one axis: returns how many, their pixel numbers and weights */
FN int grid_taps(float p, int size, int mode, int padding, int align, int *index, float *weight) {
    if (mode == 2) {
        const float first = floor(p);
        const float t = p - first;
        weight[0] = grid_cubic_far(t + 1.0f);
        weight[1] = grid_cubic_near(t);
        weight[2] = grid_cubic_near(1.0f - t);
        weight[3] = grid_cubic_far(2.0f - t);
        for (int k = 0; k < 4; k++) index[k] = grid_index(first - 1.0f + (float)k, size, padding, align);
        return 4;
    }
    p = grid_place(p, size, padding, align);
    if (mode == 1) {
        weight[0] = 1.0f;
        index[0] = grid_index(rint(p), size, padding, align);
        return 1;
    }
    const float first = floor(p);
    const float t = p - first;
    weight[0] = 1.0f - t;
    weight[1] = t;
    index[0] = grid_index(first, size, padding, align);
    index[1] = grid_index(first + 1.0f, size, padding, align);
    return 2;
}
