/* A work-item makes CHUNK elements' worth of output pixels; channels in vectors of 16. */

FN float16 resize_taps_v(GPTR(const T) x, GPTR(const int) id, GPTR(const float) wd, GPTR(const int) ih,
                         GPTR(const float) wh, GPTR(const int) iw, GPTR(const float) ww, int TD, int TH, int TW,
                         int x_d, int x_h, int x_w, int c) {
    float16 sum = 0.0f;
    for (int kd = 0; kd < TD; kd++)
        for (int kh = 0; kh < TH; kh++) {
            const int row = id[kd] * x_d + ih[kh] * x_h + c;
            const float weight = wd[kd] * wh[kh];
            for (int kw = 0; kw < TW; kw++) sum += weight * ww[kw] * T_load_v(x, row + iw[kw] * x_w);
        }
    return sum;
}

FN float resize_taps(GPTR(const T) x, GPTR(const int) id, GPTR(const float) wd, GPTR(const int) ih,
                     GPTR(const float) wh, GPTR(const int) iw, GPTR(const float) ww, int TD, int TH, int TW,
                     int x_d, int x_h, int x_w, int c) {
    float sum = 0.0f;
    for (int kd = 0; kd < TD; kd++)
        for (int kh = 0; kh < TH; kh++) {
            const int row = id[kd] * x_d + ih[kh] * x_h + c;
            const float weight = wd[kd] * wh[kh];
            for (int kw = 0; kw < TW; kw++) sum += weight * ww[kw] * T_load(x, row + iw[kw] * x_w);
        }
    return sum;
}

KERNEL_ENTRY {
    const int pixels = max(1, CHUNK / max(1, C));
    const int end = min(B * OD * OH * OW, (group_id(0) + 1) * pixels);
    for (int p = group_id(0) * pixels; p < end; p++) {
        const int ow = p % OW;
        const int oh = p / OW % OH;
        const int od = p / OW / OH % OD;
        const int b = p / OW / OH / OD;
        const int m = (od * OH + oh) * OW + ow;
        GPTR(const T) from = x + x_off + b * x_b;
        GPTR(const int) jd = id + od * TD;
        GPTR(const int) jh = ih + oh * TH;
        GPTR(const int) jw = iw + ow * TW;
        GPTR(const float) vd = wd + od * TD;
        GPTR(const float) vh = wh + oh * TH;
        GPTR(const float) vw = ww + ow * TW;
        const int outside = jd[0] < 0 || jh[0] < 0 || jw[0] < 0;
        int c = 0;
        for (; c + 16 <= C; c += 16) {
            float16 v = extrapolation;
            if (!outside) v = resize_taps_v(from, jd, vd, jh, vh, jw, vw, TD, TH, TW, x_d, x_h, x_w, c);
            T_store_v(y, p * C + c, EPILOGUE_V(v, b, m, c));
        }
        for (; c < C; c++) {
            float v = extrapolation;
            if (!outside) v = resize_taps(from, jd, vd, jh, vh, jw, vw, TD, TH, TW, x_d, x_h, x_w, c);
            T_store(y, p * C + c, EPILOGUE(v, b, m, c));
        }
    }
}
