/* Gradient of pooling whose windows lie side by side: each is read once, 16 channels at a time, and writes what it covers.
 * A work-item takes a range of cells, as large as windows; those at the borders that no window covers get zeros. */
#include "common/pool_window.h"

KERNEL_ENTRY {
    const int cells_d = (D + KD - 1) / KD, cells_h = (H + KH - 1) / KH, cells_w = (W + KW - 1) / KW;
    const int cells = N * cells_d * cells_h * cells_w, share = (cells + group_count(0) - 1) / group_count(0);
    const int from = group_id(0) * share, to = min(cells, from + share);
    int ow = from % cells_w, oh = from / cells_w % cells_h, od = from / cells_w / cells_h % cells_d;
    int b = from / cells_w / cells_h / cells_d;
    for (int cell = from; cell < to; cell++) {
        const int covered = od < OD && oh < OH && ow < OW, d0 = od * KD, h0 = oh * KH, w0 = ow * KW;
        const int kd0 = 0, kh0 = 0, kw0 = 0, kd1 = min(KD, D - d0), kh1 = min(KH, H - h0), kw1 = min(KW, W - w0);
        const int window = ((b * OD + od) * OH + oh) * OW + ow, corner = (d0 * H + h0) * W + w0;
#ifdef POOL_AVERAGE
        POOL_COUNT
#endif
        for (int done = 0; done < C; done += 16) {
            const int c = min(done, C - 16);
            T_rv coming = (T_rv)(0);
            if (covered) coming = T_load_v(dy, dy_off + window * dy_ld + c);
#ifdef POOL_AVERAGE
            coming /= (T_r)counted;
#else
            T_rv best = (T_rv)(0);
            if (covered) best = T_load_v(y, y_off + window * y_ld + c);
            int16 left = (int16)(-1); /* nobody has taken the gradient yet */
#endif
            for (int kd = kd0; kd < kd1; kd++) {
                for (int kh = kh0; kh < kh1; kh++) {
                    for (int kw = kw0; kw < kw1; kw++) {
                        const int m = corner + (kd * H + kh) * W + kw, pixel = b * D * H * W + m;
                        T_rv value = coming;
#ifndef POOL_AVERAGE
                        if (covered) {
                            const T_rv v = T_load_v(x, x_off + pixel * x_ld + c);
#ifdef POOL_LP
                            const T_rv term = POOL_LP_TERM(coming, v, best, T_rv);
                            value = best != (T_rv)(0) ? term : (T_rv)(0);
#else
                            const int16 mine = left & ((v == best) | ((v != v) & (best != best)));
                            value = mine ? coming : (T_rv)(0);
                            left &= ~mine;
#endif
                        }
#endif
                        OUT_store_v(dx, dx_off + pixel * dx_ld + c, EPILOGUE_V(value, b, m, c));
                    }
                }
            }
        }
        if (++ow == cells_w) {
            ow = 0;
            if (++oh == cells_h) {
                oh = 0;
                if (++od == cells_d) {
                    od = 0;
                    b++;
                }
            }
        }
    }
}
