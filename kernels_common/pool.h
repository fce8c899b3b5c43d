/* Pooling, a work-item per output element; neighbours along channels. */
#include "common/pool_window.h"

KERNEL_ENTRY {
    const int at = group_id(0) * GROUP + local_id(0);
    if (at < N * OD * OH * OW * C) {
        const int c = at % C, pixel = at / C, m = pixel % (OD * OH * OW), b = pixel / (OD * OH * OW);
        const int d0 = m / OW / OH * SD - PD, h0 = m / OW % OH * SH - PH, w0 = m % OW * SW - PW;
        const int kd1 = window_high(d0, LD, D, KD), kh1 = window_high(h0, LH, H, KH), kw1 = window_high(w0, LW, W, KW);
        T_r a = POOL_INIT;
        for (int kd = window_low(d0, LD); kd < kd1; kd++)
            for (int kh = window_low(h0, LH); kh < kh1; kh++)
                for (int kw = window_low(w0, LW); kw < kw1; kw++) {
                    const int from = ((b * D + d0 + kd * LD) * H + h0 + kh * LH) * W + w0 + kw * LW;
                    const T_r v = T_load(x, x_off + from * x_ld + c);
                    a = POOL_STEP(a, v, T_r);
                }
        POOL_COUNT
        OUT_store(y, y_off + pixel * y_ld + c, EPILOGUE(POOL_FINISH(a, T_r), b, m, c));
    }
}
