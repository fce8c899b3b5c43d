/* Windows of one dimension that cover position p: from covering_first to covering_last, where those whose taps are
 * further apart may still miss it (covering_tap gives -1). */
FN int covering_first(int p, int pad, int stride, int step, int kernel_size) {
    const int from = p + pad - (kernel_size - 1) * step;
    return from <= 0 ? 0 : (from + stride - 1) / stride;
}
FN int covering_last(int p, int pad, int stride, int outputs) { return min(outputs - 1, (p + pad) / stride); }
FN int covering_tap(int p, int window, int pad, int stride, int step) {
    const int far = p + pad - window * stride;
    return far % step == 0 ? far / step : -1;
}
