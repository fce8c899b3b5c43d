/* One thread computes one channel of ROWS pooled outputs, window position by window position. */
#include "common/pool_join.h"

KERNEL_ENTRY {
    const int PH = OH / pool_h, PW = OW / pool_w, rows = N * PH * PW;
    for (int n = group_id(1) * 32 + local_id(1); n < OC; n += group_count(1) * 32) {
        const int panel = n / 32 * KH * KW * C * 32 + n % 32;
        for (int r = 0; r < ROWS; r++) {
            const int row = group_id(0) * ROWS + r;
            if (row < rows) {
                const int line = row / PW, q = row - line * PW, b = line / PH, p = line - b * PH;
                float pooled = 0.0f;
                for (int i = 0; i < pool_h * pool_w; i++) {
                    const int oh = p * pool_h + i / pool_w, ow = q * pool_w + i % pool_w;
                    float sum = 0.0f;
                    for (int kh = 0; kh < KH; kh++) {
                        for (int kw = 0; kw < KW; kw++) {
                            const int ih = oh * sh - ph + kh * dh, iw = ow * sw - pw + kw * dw;
                            if (ih >= 0 && ih < H && iw >= 0 && iw < W) {
                                const int source = x_off + b * x_n + ih * x_h + iw * x_w;
                                const int at = panel + (kh * KW + kw) * C * 32;
                                for (int c = 0; c < C; c++) sum += TA_load(x, source + c * x_c) * TB_load(w, at + c * 32);
                            }
                        }
                    }
                    const float v = EPILOGUE(sum, b, oh * OW + ow, n);
                    pooled = i == 0 ? v : POOL_JOIN(pooled, v);
                }
                if (average) pooled /= (float)(pool_h * pool_w);
                TC_store(y, y_off + row * y_ld + n, POOLED(pooled, b, p * PW + q, n));
            }
        }
    }
}
