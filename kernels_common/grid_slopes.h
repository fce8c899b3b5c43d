/* How the taps of grid_sample change with the grid. */

/* 1 where a position follows what is asked for, -1 where reflection turns it round, 0 where padding holds it */
FN TG_r grid_direction(TG_r p, int size, int padding, int align) {
    TG_r sign = 1.0f;
    if (padding == 0) return sign;
    if (padding == 2) {
        const TG_r low = align ? 0.0f : -0.5f, span = align ? (TG_r)(size - 1) : (TG_r)size;
        if (span <= 0.0f) return 0.0f;
        if (p < low) sign = -sign;
        p = fmod(fabs(p - low), 2.0f * span);
        if (p > span) sign = -sign;
        p = (p > span ? 2.0f * span - p : p) + low;
    }
    return p > 0.0f && p < (TG_r)(size - 1) ? sign : 0.0f;
}

FN TG_r grid_near_slope(TG_r t) { return (3.75f * t - 4.5f) * t; }
FN TG_r grid_far_slope(TG_r t) { return (-2.25f * t + 7.5f) * t - 6.0f; }

/* grid_taps of one axis of a grid's value, and the derivatives of their weights by that value */
FN int grid_slopes(TG_r g, int size, int mode, int padding, int align, int *index, TG_r *weight, TG_r *slope) {
    const TG_r p = grid_pixel(g, size, align), scale = 0.5f * (TG_r)(align ? size - 1 : size);
    const int count = grid_taps(p, size, mode, padding, align, index, weight);
    if (mode == 1) {
        slope[0] = 0.0f;
    } else if (mode == 2) {
        const TG_r t = p - floor(p);
        slope[0] = scale * grid_far_slope(t + 1.0f);
        slope[1] = scale * grid_near_slope(t);
        slope[2] = -scale * grid_near_slope(1.0f - t);
        slope[3] = -scale * grid_far_slope(2.0f - t);
    } else {
        const TG_r moved = scale * grid_direction(p, size, padding, align);
        slope[0] = -moved;
        slope[1] = moved;
    }
    return count;
}
