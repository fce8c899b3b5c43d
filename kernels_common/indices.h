/* Reading an index of type TI the ONNX way: negative ones count from the end. */

/* clamped into [0, n): what gathers use, so that no index reads outside the input */
FN int index_clamped(long i, int n) {
    i = i < 0 ? i + n : i;
    i = i < n - 1 ? i : n - 1;
    return (int)(i < 0 ? 0 : i);
}

/* -1 when out of range: what scatters use, which then drop the update */
FN int index_or_none(long i, int n) {
    i = i < 0 ? i + n : i;
    return (i >= 0 && i < n) ? (int)i : -1;
}

/* what a scatter uses: one that undoes a gather clamps as that did */
FN int index_placed(long i, int n, int clamped) { return clamped && n > 0 ? index_clamped(i, n) : index_or_none(i, n); }
