/* Gradient of pooling, 16 channels of an element of the input at a time, gathered from the windows that cover it in their
 * order.  A work-item takes a range of pixels; the last vector of a pixel is moved back to end at C. */
#include "common/pool_window.h"
#include "common/pool_covering.h"

KERNEL_ENTRY {
    const int pixels = N * D * H * W, share = (pixels + group_count(0) - 1) / group_count(0);
    const int from = group_id(0) * share, to = min(pixels, from + share);
    int w = from % W, h = from / W % H, d = from / W / H % D, b = from / W / H / D;
    for (int pixel = from; pixel < to; pixel++) {
        const int m = (d * H + h) * W + w;
        const int first_d = covering_first(d, PD, SD, LD, KD), last_d = covering_last(d, PD, SD, OD);
        const int first_h = covering_first(h, PH, SH, LH, KH), last_h = covering_last(h, PH, SH, OH);
        const int first_w = covering_first(w, PW, SW, LW, KW), last_w = covering_last(w, PW, SW, OW);
        for (int done = 0; done < C; done += 16) {
            const int c = min(done, C - 16);
#ifndef POOL_AVERAGE
            const T_rv v = T_load_v(x, x_off + pixel * x_ld + c);
#endif
            T_rv sum = (T_rv)(0);
            for (int od = first_d; od <= last_d; od++) {
                const int td = covering_tap(d, od, PD, SD, LD), d0 = od * SD - PD;
                if (td < 0) continue;
                for (int oh = first_h; oh <= last_h; oh++) {
                    const int th = covering_tap(h, oh, PH, SH, LH), h0 = oh * SH - PH;
                    if (th < 0) continue;
                    for (int ow = first_w; ow <= last_w; ow++) {
                        const int tw = covering_tap(w, ow, PW, SW, LW), w0 = ow * SW - PW;
                        if (tw < 0) continue;
                        const int window = ((b * OD + od) * OH + oh) * OW + ow;
                        const T_rv coming = T_load_v(dy, dy_off + window * dy_ld + c);
#ifdef POOL_AVERAGE
                        const int kd1 = window_high(d0, LD, D, KD), kh1 = window_high(h0, LH, H, KH);
                        const int kw1 = window_high(w0, LW, W, KW);
                        POOL_COUNT
                        sum += coming / (T_r)counted;
#else
                        const T_rv best = T_load_v(y, y_off + window * y_ld + c);
#ifdef POOL_LP
                        const T_rv term = POOL_LP_TERM(coming, v, best, T_rv);
                        sum += best != (T_rv)(0) ? term : (T_rv)(0);
#else
                        int16 mine = (v == best) | ((v != v) & (best != best));
                        /* not where an earlier element of the window is as large */
                        for (int kd = window_low(d0, LD); kd <= td && any(mine); kd++) {
                            const int end_h = kd < td ? window_high(h0, LH, H, KH) : th + 1;
                            for (int kh = window_low(h0, LH); kh < end_h; kh++) {
                                const int end_w = kd < td || kh < th ? window_high(w0, LW, W, KW) : tw;
                                for (int kw = window_low(w0, LW); kw < end_w; kw++) {
                                    const int earlier = ((b * D + d0 + kd * LD) * H + h0 + kh * LH) * W + w0 + kw * LW;
                                    const T_rv other = T_load_v(x, x_off + earlier * x_ld + c);
                                    mine &= ~((other == best) | ((other != other) & (best != best)));
                                }
                            }
                        }
                        sum += mine ? coming : (T_rv)(0);
#endif
#endif
                    }
                }
            }
            OUT_store_v(dx, dx_off + pixel * dx_ld + c, EPILOGUE_V(sum, b, m, c));
        }
        if (++w == W) {
            w = 0;
            if (++h == H) {
                h = 0;
                if (++d == D) {
                    d = 0;
                    b++;
                }
            }
        }
    }
}
