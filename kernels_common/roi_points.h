/* Where regions of an image are resampled: the points of their bins, or bins of whole pixels. */

#define MOST_SAMPLES 32768

/* How many points a bin of `step` pixels has. */
FN int roi_points(TR_r step, int samples) {
    const TR_r most = ceil(step);
    if (samples > 0) return samples;
    return most > 0 ? (most < MOST_SAMPLES ? (int)most : MOST_SAMPLES) : 0;
}

FN int roi_pixel(TR_r v) { return (int)(v < 0 ? -floor((TR_r)0.5f - v) : floor(v + (TR_r)0.5f)); }

/* MaxRoiPool: bins of whole pixels, which may share some. */
typedef struct {
    int start;
    TR_r step;
} RoiBins;

FN RoiBins roi_bins(TR_r first, TR_r last, int bins, float scale) {
    const int end = roi_pixel(last * scale);
    RoiBins made;
    made.start = roi_pixel(first * scale);
    made.step = (TR_r)(end > made.start ? end - made.start + 1 : 1) / bins;
    return made;
}
FN int roi_low(RoiBins bins, int bin, int size) {
    const int low = (int)floor(bin * bins.step) + bins.start;
    return low < 0 ? 0 : (low < size ? low : size);
}
FN int roi_high(RoiBins bins, int bin, int size) {
    const int high = (int)ceil((bin + 1) * bins.step) + bins.start;
    return high < 0 ? 0 : (high < size ? high : size);
}

/* A region's bins along one axis: where the first begins, how wide each is, and how many points it has. */
typedef struct {
    TR_r start, step;
    int points;
} RoiLine;

FN RoiLine roi_line(TR_r first, TR_r last, int bins, float scale, int samples, int half_pixel) {
    RoiLine line;
    const TR_r offset = half_pixel ? (TR_r)0.5f : (TR_r)0;
    line.start = first * scale - offset;
    TR_r length = last * scale - offset - line.start;
    if (!half_pixel && !(length > 1)) length = 1;
    line.step = length / bins;
    line.points = roi_points(line.step, samples);
    return line;
}

/* The pixels on both sides of a point and how far it is from the first; 0 outside of the image. */
FN int roi_corners(RoiLine line, int bin, int point, int size, int *low, int *high, T_r *share) {
    TR_r v = line.start + bin * line.step + (point + (TR_r)0.5f) * line.step / line.points;
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
