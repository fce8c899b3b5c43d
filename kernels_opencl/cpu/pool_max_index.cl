/* Maximum pooling that also names the element, vectors along channels (see pool.cl); a ragged last vector is moved
 * back to end at C and writes some values twice, from the same work-item. */
#include "common/pool_window.h"
KERNEL_ENTRY {
    const int pixels = N * OD * OH * OW, share = (pixels + group_count(0) - 1) / group_count(0);
    const int from = group_id(0) * share, to = min(pixels, from + share);
    const int16 lane = (int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for (int pixel = from; pixel < to; pixel++) {
        const int m = pixel % (OD * OH * OW), b = pixel / (OD * OH * OW);
        const int d0 = m / OW / OH * SD - PD, h0 = m / OW % OH * SH - PH, w0 = m % OW * SW - PW;
        const int kd0 = window_low(d0, LD), kh0 = window_low(h0, LH), kw0 = window_low(w0, LW);
        const int kd1 = window_high(d0, LD, D, KD), kh1 = window_high(h0, LH, H, KH), kw1 = window_high(w0, LW, W, KW);
        for (int done = 0; done < C; done += 16) {
            const int c = min(done, C - 16);
            T_rv best = (T_rv)(T_lowest);
            int16 name = (int16)(-1);
            for (int kd = kd0; kd < kd1; kd++)
                for (int kh = kh0; kh < kh1; kh++)
                    for (int kw = kw0; kw < kw1; kw++) {
                        const int d = d0 + kd * LD, h = h0 + kh * LH, w = w0 + kw * LW;
                        const T_rv v = T_load_v(x, x_off + (((b * D + d) * H + h) * W + w) * x_ld + c);
                        const int16 take = (name < 0) | (v > best) | ((v != v) & (best == best));
                        best = take ? v : best;
                        name = take ? b * i_n + d * i_d + h * i_h + w * i_w + (c + lane) * i_c : name;
                    }
            T_store_v(y, y_off + pixel * y_ld + c, best);
            vstore16(convert_long16(name), 0, index + pixel * C + c);
        }
    }
}
