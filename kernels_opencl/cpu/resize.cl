/* A work-item makes CHUNK elements' worth of output pixels.  A pixel's taps are listed once; then channels go by vectors
 * of 16, and what is left of them together. */
#define MOST_TAPS 256

/* all taps of one output pixel; 0 of them where an axis says that it lies outside */
FN int resize_taps(GPTR(const int) id, GPTR(const float) wd, GPTR(const int) ih, GPTR(const float) wh,
                   GPTR(const int) iw, GPTR(const float) ww, int TD, int TH, int TW, int x_d, int x_h, int x_w,
                   int *offset, float *weight) {
    if (id[0] < 0 || ih[0] < 0 || iw[0] < 0) return 0;
    for (int kd = 0; kd < TD; kd++)
        for (int kh = 0; kh < TH; kh++) {
            const int row = id[kd] * x_d + ih[kh] * x_h;
            const float w = wd[kd] * wh[kh];
            const int at = (kd * TH + kh) * TW; /* not a running count, which Intel's compiler gets wrong */
            for (int kw = 0; kw < TW; kw++) {
                offset[at + kw] = row + iw[kw] * x_w;
                weight[at + kw] = w * ww[kw];
            }
        }
    return TD * TH * TW;
}

KERNEL_ENTRY {
    const int pixels = max(1, CHUNK / max(1, C));
    const int begin = group_id(0) * pixels;
    const int end = min(B * OD * OH * OW, begin + pixels);
    int ow = begin % OW;
    int oh = begin / OW % OH;
    int od = begin / OW / OH % OD;
    int b = begin / OW / OH / OD;
    for (int p = begin; p < end; p++) {
        int offset[MOST_TAPS];
        float weight[MOST_TAPS];
        const int taps = resize_taps(id + od * TD, wd + od * TD, ih + oh * TH, wh + oh * TH, iw + ow * TW, ww + ow * TW, TD,
                                     TH, TW, x_d, x_h, x_w, offset, weight);
        const int m = (od * OH + oh) * OW + ow;
        GPTR(const T) from = x + x_off + b * x_b;
        const float start = taps > 0 ? 0.0f : extrapolation;
        int c = 0;
        if (taps == 1)
            for (; c + 16 <= C; c += 16)
                T_store_v(y, p * C + c, EPILOGUE_V(weight[0] * T_load_v(from, offset[0] + c), b, m, c));
        else if (taps == 4)
            for (; c + 16 <= C; c += 16) {
                float16 v = weight[0] * T_load_v(from, offset[0] + c);
                v += weight[1] * T_load_v(from, offset[1] + c);
                v += weight[2] * T_load_v(from, offset[2] + c);
                v += weight[3] * T_load_v(from, offset[3] + c);
                T_store_v(y, p * C + c, EPILOGUE_V(v, b, m, c));
            }
        for (; c + 16 <= C; c += 16) {
            float16 v = start;
            for (int k = 0; k < taps; k++) v += weight[k] * T_load_v(from, offset[k] + c);
            T_store_v(y, p * C + c, EPILOGUE_V(v, b, m, c));
        }
        for (; c < C; c++) {
            float v = start;
            for (int k = 0; k < taps; k++) v += weight[k] * T_load(from, offset[k] + c);
            T_store(y, p * C + c, EPILOGUE(v, b, m, c));
        }
        if (++ow == OW) {
            ow = 0;
            if (++oh == OH) {
                oh = 0;
                if (++od == OD) od = 0, b++;
            }
        }
    }
}
