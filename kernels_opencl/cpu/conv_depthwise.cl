/* Depthwise convolution: 16 channels at a time.  A work-item takes a range of output lines and of channels; along a
 * line, PIXELS outputs share each vector of weights.  Channels are the inner loop, so that memory is read in
 * streams and the ranges of taps inside the image are found once per block of outputs. */
#define PIXELS 4

/* sums of `count` outputs, w_step elements apart in x, over taps kd in [d0, d1), kh in [h0, h1), kw in [w0, w1) */
#define TAPS(BODY)                                                                                            \
    for (int kd = d0; kd < d1; kd++) {                                                                        \
        for (int kh = h0; kh < h1; kh++) {                                                                    \
            const int line = source + ((kd * dd * H + kh * dh) * W) * x_ld;                                   \
            const int row = (kd * KH + kh) * KW;                                                              \
            for (int kw = w0; kw < w1; kw++) {                                                                \
                const int at = line + kw * dw * x_ld, tap = (row + kw) * C;                                   \
                BODY                                                                                          \
            }                                                                                                 \
        }                                                                                                     \
    }

__attribute__((reqd_work_group_size(1, 1, 1))) KERNEL_ENTRY {
    const int lines = N * OD * OH, lines_each = (lines + group_count(0) - 1) / group_count(0);
    const int chunks = (C + 63) / 64, chunks_each = (chunks + group_count(1) - 1) / group_count(1);
    const int c_begin = group_id(1) * chunks_each * 64, c_end = min(C, c_begin + chunks_each * 64);
    const int line_end = min(lines, (group_id(0) + 1) * lines_each);
    /* outputs [inner, outer) of a line need no care at the borders */
    const int inner = min(OW, (pw + sw - 1) / sw), last = W - 1 - (KW - 1) * dw + pw;
    const int outer = last < 0 ? inner : clamp(last / sw + 1, inner, OW);

    for (int t = group_id(0) * lines_each; t < line_end; t++) {
        const int q = t / OH, b = q / OD;
        const int id = (q - b * OD) * sd - pd, ih = (t - q * OH) * sh - ph;
        const int d0 = id < 0 ? (-id + dd - 1) / dd : 0, h0 = ih < 0 ? (-ih + dh - 1) / dh : 0;
        const int d1 = D - id <= 0 ? 0 : min(KD, (D - id + dd - 1) / dd);
        const int h1 = H - ih <= 0 ? 0 : min(KH, (H - ih + dh - 1) / dh);
        for (int ow = 0; ow < OW;) {
            const int many = ow >= inner && ow + PIXELS <= outer;
            const int iw = ow * sw - pw;
            const int w0 = iw < 0 ? (-iw + dw - 1) / dw : 0, w1 = W - iw <= 0 ? 0 : min(KW, (W - iw + dw - 1) / dw);
            const int pixel = x_off + (((b * D + id) * H + ih) * W + iw) * x_ld, step = sw * x_ld;
            const int m = (t - b * OD * OH) * OW + ow, target = y_off + (t * OW + ow) * y_ld;
            if (c_end - c_begin >= 16) {
                for (int c = c_begin; c < c_end; c += 16) {
                    if (c + 16 > c_end) c = c_end - 16; /* once more over a few channels rather than one by one */
                    const int source = pixel + c;
                    if (many) {
                        float16 s0 = 0.0f, s1 = 0.0f, s2 = 0.0f, s3 = 0.0f;
                        TAPS(const float16 v = TB_load_v(w, tap + c);
                             s0 = fma(TA_load_v(x, at), v, s0); s1 = fma(TA_load_v(x, at + step), v, s1);
                             s2 = fma(TA_load_v(x, at + 2 * step), v, s2); s3 = fma(TA_load_v(x, at + 3 * step), v, s3);)
                        TC_store_v(y, target + c, EPILOGUE_V(s0, b, m, c));
                        TC_store_v(y, target + y_ld + c, EPILOGUE_V(s1, b, m + 1, c));
                        TC_store_v(y, target + 2 * y_ld + c, EPILOGUE_V(s2, b, m + 2, c));
                        TC_store_v(y, target + 3 * y_ld + c, EPILOGUE_V(s3, b, m + 3, c));
                    } else {
                        float16 s0 = 0.0f;
                        TAPS(s0 = fma(TA_load_v(x, at), TB_load_v(w, tap + c), s0);)
                        TC_store_v(y, target + c, EPILOGUE_V(s0, b, m, c));
                    }
                }
                ow += many ? PIXELS : 1;
            } else {
                for (int c = c_begin; c < c_end; c++) {
                    const int source = pixel + c;
                    float s0 = 0.0f;
                    TAPS(s0 = fma(TA_load(x, at), TB_load(w, tap + c), s0);)
                    TC_store(y, target + c, EPILOGUE(s0, b, m, c));
                }
                ow++;
            }
        }
    }
}
