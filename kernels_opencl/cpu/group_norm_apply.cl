/* y = EPILOGUE((PROLOGUE(x) - mean) * inv_std), vectors along channels; a work-item takes a range of pixels.
 *
 * Mean and scale of each channel are spread into private arrays once per image, BLOCK channels at a time, so that
 * groups may have any width.  Ragged channels are done in scalars. */
#define BLOCK 2048

KERNEL_ENTRY {
    const int pixels = N * P, share = (pixels + group_count(0) - 1) / group_count(0), width = C / G;
    const int from = group_id(0) * share, to = min(pixels, from + share);
    float middle[BLOCK], scale[BLOCK];
    for (int c0 = 0; c0 < C; c0 += BLOCK) {
        const int c1 = min(C, c0 + BLOCK), whole = c0 + (c1 - c0) / 16 * 16;
        for (int at = from; at < to;) {
            const int n = at / P, stop = min(to, (n + 1) * P);
            for (int c = c0; c < c1; c++) {
                middle[c - c0] = mean[n * G + c / width];
                scale[c - c0] = inv_std[n * G + c / width];
            }
            for (; at < stop; at++) {
                const int p = at - n * P;
                GPTR(const T) w = x + x_off + at * x_ld;
                GPTR(OUT) q = y + y_off + at * y_ld;
                for (int c = c0; c < whole; c += 16) {
                    const float16 m = vload16(0, middle + c - c0), k = vload16(0, scale + c - c0);
                    OUT_store_v(q, c, EPILOGUE_V((PROLOGUE_V(T_load_v(w, c), n, p, c) - m) * k, n, p, c));
                }
                for (int c = whole; c < c1; c++) {
                    const float v = (PROLOGUE(T_load(w, c), n, p, c) - middle[c - c0]) * scale[c - c0];
                    OUT_store(q, c, EPILOGUE(v, n, p, c));
                }
            }
        }
    }
}
