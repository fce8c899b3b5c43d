/* Pooling, vectors along channels: for each output pixel, blocks of 64 channels in four vectors, then single
 * vectors, the last of them moved back to end at C (its lanes that were stored before are not stored again).
 * Fewer than 16 channels are done in scalars.  A work-item takes a range of output pixels. */
#include "common/pool_window.h"

#define WINDOW(body)                                                                                          \
    for (int kd = kd0; kd < kd1; kd++)                                                                        \
        for (int kh = kh0; kh < kh1; kh++) {                                                                  \
            GPTR(const T) line = image + (((d0 + kd * LD) * H + h0 + kh * LH) * W + w0) * x_ld;               \
            for (int kw = kw0; kw < kw1; kw++) {                                                              \
                GPTR(const T) q = line + kw * LW * x_ld;                                                      \
                body                                                                                          \
            }                                                                                                 \
        }

KERNEL_ENTRY {
    const int pixels = N * OD * OH * OW, share = (pixels + group_count(0) - 1) / group_count(0);
    const int from = group_id(0) * share, to = min(pixels, from + share);
    for (int pixel = from; pixel < to; pixel++) {
        const int m = pixel % (OD * OH * OW), b = pixel / (OD * OH * OW);
        const int d0 = m / OW / OH * SD - PD, h0 = m / OW % OH * SH - PH, w0 = m % OW * SW - PW;
        const int kd0 = window_low(d0, LD), kh0 = window_low(h0, LH), kw0 = window_low(w0, LW);
        const int kd1 = window_high(d0, LD, D, KD), kh1 = window_high(h0, LH, H, KH), kw1 = window_high(w0, LW, W, KW);
        GPTR(const T) image = x + x_off + b * D * H * W * x_ld;
        GPTR(OUT) to_pixel = y + y_off + pixel * y_ld;
        POOL_COUNT
        if (C < 16) {
            for (int c = 0; c < C; c++) {
                T_r a = POOL_INIT;
                WINDOW({
                    const T_r v = T_load(q, c);
                    a = POOL_STEP(a, v, T_r);
                })
                OUT_store(to_pixel, c, EPILOGUE(POOL_FINISH(a, T_r), b, m, c));
            }
            continue;
        }
        int c = 0;
        for (; c + 64 <= C; c += 64) {
            T_rv a0 = (T_rv)(POOL_INIT), a1 = a0, a2 = a0, a3 = a0;
            WINDOW({
                const T_rv v0 = T_load_v(q, c);
                const T_rv v1 = T_load_v(q, c + 16);
                const T_rv v2 = T_load_v(q, c + 32);
                const T_rv v3 = T_load_v(q, c + 48);
                a0 = POOL_STEP(a0, v0, T_rv);
                a1 = POOL_STEP(a1, v1, T_rv);
                a2 = POOL_STEP(a2, v2, T_rv);
                a3 = POOL_STEP(a3, v3, T_rv);
            })
            OUT_store_v(to_pixel, c, EPILOGUE_V(POOL_FINISH(a0, T_rv), b, m, c));
            OUT_store_v(to_pixel, c + 16, EPILOGUE_V(POOL_FINISH(a1, T_rv), b, m, c + 16));
            OUT_store_v(to_pixel, c + 32, EPILOGUE_V(POOL_FINISH(a2, T_rv), b, m, c + 32));
            OUT_store_v(to_pixel, c + 48, EPILOGUE_V(POOL_FINISH(a3, T_rv), b, m, c + 48));
        }
        for (; c < C; c += 16) {
            const int first = min(c, C - 16);
            T_rv a = (T_rv)(POOL_INIT);
            WINDOW({
                const T_rv v = T_load_v(q, first);
                a = POOL_STEP(a, v, T_rv);
            })
            a = POOL_FINISH(a, T_rv);
            if (first == c) {
                OUT_store_v(to_pixel, c, EPILOGUE_V(a, b, m, c));
            } else {
                T_r lanes[16];
                vstore16(a, 0, lanes);
                for (int l = c - first; l < 16; l++)
                    OUT_store(to_pixel, first + l, EPILOGUE(lanes[l], b, m, first + l));
            }
        }
    }
}
