/* Gradient of pooling, a work-item per element of the input; neighbours along channels.  It gathers from the windows that
 * cover the element, in their order. */
#include "common/pool_window.h"
#include "common/pool_covering.h"

KERNEL_ENTRY {
    const int at = group_id(0) * GROUP + local_id(0);
    if (at < N * D * H * W * C) {
        const int c = at % C, pixel = at / C, m = pixel % (D * H * W), b = pixel / (D * H * W);
        const int d = m / W / H, h = m / W % H, w = m % W;
#ifndef POOL_AVERAGE
        const T_r v = T_load(x, x_off + pixel * x_ld + c);
#endif
        T_r sum = (T_r)0;
        const int last_d = covering_last(d, PD, SD, OD), last_h = covering_last(h, PH, SH, OH);
        const int last_w = covering_last(w, PW, SW, OW);
        for (int od = covering_first(d, PD, SD, LD, KD); od <= last_d; od++) {
            const int td = covering_tap(d, od, PD, SD, LD), d0 = od * SD - PD;
            if (td < 0) continue;
            for (int oh = covering_first(h, PH, SH, LH, KH); oh <= last_h; oh++) {
                const int th = covering_tap(h, oh, PH, SH, LH), h0 = oh * SH - PH;
                if (th < 0) continue;
                for (int ow = covering_first(w, PW, SW, LW, KW); ow <= last_w; ow++) {
                    const int tw = covering_tap(w, ow, PW, SW, LW), w0 = ow * SW - PW;
                    if (tw < 0) continue;
                    const int window = ((b * OD + od) * OH + oh) * OW + ow;
                    const T_r coming = T_load(dy, dy_off + window * dy_ld + c);
#ifdef POOL_AVERAGE
                    const int kd1 = window_high(d0, LD, D, KD), kh1 = window_high(h0, LH, H, KH);
                    const int kw1 = window_high(w0, LW, W, KW);
                    POOL_COUNT
                    sum += coming / (T_r)counted;
#else
                    const T_r best = T_load(y, y_off + window * y_ld + c);
#ifdef POOL_LP
                    if (best != (T_r)0) sum += POOL_LP_TERM(coming, v, best, T_r);
#else
                    if (v == best || (v != v && best != best)) {
                        /* not if an earlier element of the window is as large: its taps before this one, in order */
                        int taken = 0;
                        for (int kd = window_low(d0, LD); kd <= td && !taken; kd++) {
                            const int end_h = kd < td ? window_high(h0, LH, H, KH) : th + 1;
                            for (int kh = window_low(h0, LH); kh < end_h && !taken; kh++) {
                                const int end_w = kd < td || kh < th ? window_high(w0, LW, W, KW) : tw;
                                for (int kw = window_low(w0, LW); kw < end_w && !taken; kw++) {
                                    const int from = ((b * D + d0 + kd * LD) * H + h0 + kh * LH) * W + w0 + kw * LW;
                                    const T_r other = T_load(x, x_off + from * x_ld + c);
                                    taken = other == best || (other != other && best != best);
                                }
                            }
                        }
                        if (!taken) sum += coming;
                    }
#endif
#endif
                }
            }
        }
        OUT_store(dx, dx_off + pixel * dx_ld + c, EPILOGUE(sum, b, m, c));
    }
}
