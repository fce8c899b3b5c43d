/* Maximum pooling that also names the element, a work-item per output element; neighbours along channels. */
#include "common/pool_window.h"

KERNEL_ENTRY {
    const int at = group_id(0) * GROUP + local_id(0);
    if (at < N * OD * OH * OW * C) {
        const int c = at % C, pixel = at / C, m = pixel % (OD * OH * OW), b = pixel / (OD * OH * OW);
        const int d0 = m / OW / OH * SD - PD, h0 = m / OW % OH * SH - PH, w0 = m % OW * SW - PW;
        const int kd1 = window_high(d0, LD, D, KD), kh1 = window_high(h0, LH, H, KH), kw1 = window_high(w0, LW, W, KW);
        T_r best = T_lowest;
        int name = -1;
        for (int kd = window_low(d0, LD); kd < kd1; kd++)
            for (int kh = window_low(h0, LH); kh < kh1; kh++)
                for (int kw = window_low(w0, LW); kw < kw1; kw++) {
                    const int d = d0 + kd * LD, h = h0 + kh * LH, w = w0 + kw * LW;
                    const T_r v = T_load(x, x_off + (((b * D + d) * H + h) * W + w) * x_ld + c);
                    if (name < 0 || v > best || (v != v && best == best)) {
                        best = v;
                        name = b * i_n + c * i_c + d * i_d + h * i_h + w * i_w;
                    }
                }
        T_store(y, y_off + pixel * y_ld + c, best);
        index[at] = (long)name;
    }
}
