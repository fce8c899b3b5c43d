/* Window positions inside the image: k from window_low to before window_high, where the window starts at `start`
 * (which may lie before the image) and is dilated by `step`. */
FN int window_low(int start, int step) { return start < 0 ? (-start + step - 1) / step : 0; }
FN int window_high(int start, int step, int size, int kernel_size) {
    return size <= start ? 0 : min(kernel_size, (size - start + step - 1) / step);
}
