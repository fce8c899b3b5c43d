/* Where regions of an image are resampled: the points of their bins, or bins of whole pixels. */

#define MOST_SAMPLES 32768

/* How many points a bin of `step` pixels has. */
FN int roi_points(TR_r step, int samples) {
    const TR_r most = ceil(step);
    if (samples > 0) return samples;
    return most > 0 ? (most < MOST_SAMPLES ? (int)most : MOST_SAMPLES) : 0;
}

FN int roi_pixel(TR_r v) { return (int)(v < 0 ? -floor((TR_r)0.5f - v) : floor(v + (TR_r)0.5f)); }

/* MaxRoiPool: bins of whole pixels, which may share some; how wide each is, and where one begins and ends. */
FN TR_r roi_width(int first, int last, int bins) { return (TR_r)(last > first ? last - first + 1 : 1) / bins; }

FN int roi_low(int start, TR_r step, int bin, int size) {
    const int low = (int)floor(bin * step) + start;
    return low < 0 ? 0 : (low < size ? low : size);
}
FN int roi_high(int start, TR_r step, int bin, int size) {
    const int high = (int)ceil((bin + 1) * step) + start;
    return high < 0 ? 0 : (high < size ? high : size);
}

/* Bins of points along one axis: where the first begins, and how wide each is. */
FN TR_r roi_start(TR_r first, float scale, int half_pixel) {
    return first * scale - (half_pixel ? (TR_r)0.5f : (TR_r)0);
}

FN TR_r roi_step(TR_r first, TR_r last, int bins, float scale, int half_pixel) {
    const TR_r length = roi_start(last, scale, half_pixel) - roi_start(first, scale, half_pixel);
    return (!half_pixel && !(length > 1) ? (TR_r)1 : length) / bins;
}

/* The pixels on both sides of one of a bin's points and how far it is from the first; 0 outside of the image. */
FN int roi_corners(
    TR_r start, TR_r step, int points, int bin, int point, int size, int *low, int *high, T_r *share
) {
    TR_r v = start + bin * step + (point + (TR_r)0.5f) * step / points;
    if (!(v >= -1 && v <= size)) return 0;
    v = v > 0 ? v : 0;
    *low = (int)v;
    *high = *low + 1;
    if (*low >= size - 1) {
        *low = *high = size - 1;
        v = *low;
    }
    *share = (T_r)(v - *low);
    return 1;
}
