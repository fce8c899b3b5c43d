/* Depthwise convolution: 16 channels at a time.  A work-item takes a range of output lines and of channels; along a
 * line, four outputs are computed together and share each vector of weights.  Channels are the inner loop, so that
 * memory is read in streams.
 *
 * Where taps are as far apart as outputs (dw == sw), the input of an output at one tap is that of its left
 * neighbour at the next: four inputs slide along the line, and each tap loads one.  Otherwise each tap loads four, and
 * outputs at the borders are computed one by one. */

/* BODY for taps kd in [d0, d1), kh in [h0, h1), kw in [w0, w1); START before the taps of each kernel row */
#define TAPS(START, BODY)                                                                                     \
    for (int kd = d0; kd < d1; kd++) {                                                                        \
        for (int kh = h0; kh < h1; kh++) {                                                                    \
            int at = source + (kd * dd * H + kh * dh) * line_step + w0 * tap_step;                            \
            int tap = ((kd * KH + kh) * KW + w0) * C + c;                                                     \
            START                                                                                             \
            for (int kw = w0; kw < w1; kw++, at += tap_step, tap += C) {                                      \
                BODY                                                                                          \
            }                                                                                                 \
        }                                                                                                     \
    }
/* input j outputs to the right of the one at hand; zero outside the image */
#define INSIDE(j) TA_load_v(x, at + (j) * step)
#define CHECKED(j) ((uint)(iw + kw * dw + (j) * sw) < (uint)W ? INSIDE(j) : (float16)(0.0f))
#define SLIDE(LOAD)                                                                                           \
    TAPS(const int kw = 0; float16 x1 = LOAD(0); float16 x2 = LOAD(1); float16 x3 = LOAD(2); float16 x0;,     \
         const float16 v = TB_load_v(w, tap); x0 = x1; x1 = x2; x2 = x3; x3 = LOAD(3);                        \
         s0 = fma(x0, v, s0); s1 = fma(x1, v, s1); s2 = fma(x2, v, s2); s3 = fma(x3, v, s3);)
#define STORE(j, s) TC_store_v(y, target + (j) * y_ld + c, EPILOGUE_V(s, b, m + (j), c))

__attribute__((reqd_work_group_size(1, 1, 1))) KERNEL_ENTRY {
    const int lines = N * OD * OH, lines_each = (lines + group_count(0) - 1) / group_count(0);
    const int chunks = (C + 63) / 64, chunks_each = (chunks + group_count(1) - 1) / group_count(1);
    const int c_begin = group_id(1) * chunks_each * 64, c_end = min(C, c_begin + chunks_each * 64);
    const int line_end = min(lines, (group_id(0) + 1) * lines_each);
    const int line_step = W * x_ld, tap_step = dw * x_ld, step = sw * x_ld, sliding = dw == sw;
    /* outputs [inner, outer) of a line have all their taps inside the image */
    const int inner = min(OW, (pw + sw - 1) / sw), last = W - 1 - (KW - 1) * dw + pw;
    const int outer = last < 0 ? inner : clamp(last / sw + 1, inner, OW);

    for (int t = group_id(0) * lines_each; t < line_end; t++) {
        const int q = t / OH, b = q / OD;
        const int id = (q - b * OD) * sd - pd, ih = (t - q * OH) * sh - ph;
        const int d0 = id < 0 ? (-id + dd - 1) / dd : 0, h0 = ih < 0 ? (-ih + dh - 1) / dh : 0;
        const int d1 = D - id <= 0 ? 0 : min(KD, (D - id + dd - 1) / dd);
        const int h1 = H - ih <= 0 ? 0 : min(KH, (H - ih + dh - 1) / dh);
        for (int ow = 0; ow < OW;) {
            const int whole = ow >= inner && ow + 4 <= outer, vectors = c_end - c_begin >= 16;
            const int four = vectors && (whole || sliding);
            const int iw = ow * sw - pw;
            /* taps inside the image: all for four outputs, which are checked one by one where need be */
            const int w0 = four || iw >= 0 ? 0 : (-iw + dw - 1) / dw;
            const int w1 = four ? KW : (W - iw <= 0 ? 0 : min(KW, (W - iw + dw - 1) / dw));
            const int pixel = x_off + (((b * D + id) * H + ih) * W + iw) * x_ld;
            const int m = (t - b * OD * OH) * OW + ow, target = y_off + (t * OW + ow) * y_ld;
            if (!vectors) {
                for (int c = c_begin; c < c_end; c++) {
                    const int source = pixel + c;
                    float s0 = 0.0f;
                    TAPS(, s0 = fma(TA_load(x, at), TB_load(w, tap), s0);)
                    TC_store(y, target + c, EPILOGUE(s0, b, m, c));
                }
                ow++;
                continue;
            }
            for (int c = c_begin; c < c_end; c += 16) {
                if (c + 16 > c_end) c = c_end - 16; /* once more over a few channels rather than one by one */
                const int source = pixel + c;
                float16 s0 = 0.0f, s1 = 0.0f, s2 = 0.0f, s3 = 0.0f;
                if (sliding && whole) {
                    SLIDE(INSIDE)
                } else if (sliding) {
                    SLIDE(CHECKED)
                } else if (whole) {
                    TAPS(, const float16 v = TB_load_v(w, tap);
                         s0 = fma(INSIDE(0), v, s0); s1 = fma(INSIDE(1), v, s1);
                         s2 = fma(INSIDE(2), v, s2); s3 = fma(INSIDE(3), v, s3);)
                } else {
                    TAPS(, s0 = fma(INSIDE(0), TB_load_v(w, tap), s0);)
                }
                STORE(0, s0);
                if (four && ow + 1 < OW) STORE(1, s1);
                if (four && ow + 2 < OW) STORE(2, s2);
                if (four && ow + 3 < OW) STORE(3, s3);
            }
            ow += four ? 4 : 1;
        }
    }
}
