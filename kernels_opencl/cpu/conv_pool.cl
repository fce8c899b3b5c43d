/* Convolution of 2-D images and the pooling behind it.  A work-item takes lines of pooled outputs: it brings the inputs
 * that a line needs (or as many of its columns as fit) into a strip, zeros where they lie outside, and multiplies
 * there.  The micro-kernel's MR rows are the window positions of neighbouring pooled outputs: a window's sums meet in
 * the first-level cache, the unpooled image exists nowhere. */
#include "conv_block.clh"
#include "common/pool_join.h"

#define POOL_ROWS_8(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#define POOL_ROWS_12(X) POOL_ROWS_8(X) X(8) X(9) X(10) X(11)
#define POOL_PASTE_(a, b) a##b
#define POOL_PASTE(a, b) POOL_PASTE_(a, b)
#define POOL_ROWS POOL_PASTE(POOL_ROWS_, MR)

#define POOL_POINT(r) const float *a##r = a + row[r] + tap[t];
#define POOL_LOAD_32 const float16 w0 = TB_load_v(w, 0), w1 = TB_load_v(w, 16);
#define POOL_DECLARE_32(r) float16 s##r = 0.0f, t##r = 0.0f;
#define POOL_STEP_32(r)                                                                                       \
    {                                                                                                         \
        const float16 x = (float16)(a##r[k]);                                                                 \
        s##r = fma(x, w0, s##r);                                                                              \
        t##r = fma(x, w1, t##r);                                                                              \
    }
#define POOL_KEEP_32(r) s[2 * r] = s##r; s[2 * r + 1] = t##r;
#define POOL_LOAD_16 const float16 w0 = TB_load_v(w, 0);
#define POOL_DECLARE_16(r) float16 s##r = 0.0f;
#define POOL_STEP_16(r) s##r = fma((float16)(a##r[k]), w0, s##r);
#define POOL_KEEP_16(r) s[2 * r] = s##r;

/* s[MR][32] = sum over runs t and k < run of a[row[r] + tap[t] + k] * w[t * run + k][32], or of 16 columns */
#define POOL_MICRO(name, LOAD, DECLARE, STEP, KEEP)                                                           \
    static __attribute__((noinline)) void name(const float *a, const int *row, int runs, int run, const int *tap, \
                                               GPTR(const TB) w, float16 *s) {                                \
        POOL_ROWS(DECLARE)                                                                                    \
        for (int t = 0; t < runs; t++) {                                                                      \
            POOL_ROWS(POOL_POINT)                                                                             \
            for (int k = 0; k < run; k++, w += 32) {                                                          \
                LOAD                                                                                          \
                POOL_ROWS(STEP)                                                                               \
            }                                                                                                 \
        }                                                                                                     \
        POOL_ROWS(KEEP)                                                                                       \
    }
POOL_MICRO(pool_micro_32, POOL_LOAD_32, POOL_DECLARE_32, POOL_STEP_32, POOL_KEEP_32)
POOL_MICRO(pool_micro_16, POOL_LOAD_16, POOL_DECLARE_16, POOL_STEP_16, POOL_KEEP_16)

/* count pixels of the line that begins at source, to where pixels are C floats */
FN void pool_line(float *to, GPTR(const TA) x, int source, int count, int C, int x_w, int x_c, int limit) {
    if (x_c == 1 && x_w == C) {
        block_copy(to, x, source, count * C, limit);
    } else if (x_c == 1) {
        for (int i = 0; i < count; i++) block_copy(to + i * C, x, source + i * x_w, C, limit);
    } else {
        for (int c = 0; c < C; c++)
            for (int i = 0; i < count; i++) to[i * C + c] = TA_load(x, source + i * x_w + c * x_c);
    }
}

__attribute__((reqd_work_group_size(1, 1, 1))) KERNEL_ENTRY {
    float16 strip_vectors[STRIP / 16], sums[MR * 2];
    float *strip = (float *)strip_vectors;
    int row[MR], tap[MOST_TAPS];
    const int PH = OH / pool_h, PW = OW / pool_w, window = pool_h * pool_w, across = MR / window;
    const int lines = N * PH, first = lines * group_id(0) / group_count(0), last = lines * (group_id(0) + 1) / group_count(0);
    const int panels = (OC + 31) / 32, p_begin = panels * group_id(1) / group_count(1);
    const int p_end = panels * (group_id(1) + 1) / group_count(1), depth = KH * KW * C;
    const int limit = x_off + (N - 1) * x_n + (H - 1) * x_h + (W - 1) * x_w + (C - 1) * x_c + 1;
    const int high = ((pool_h - 1) * sh) + (KH - 1) * dh + 1, reach = (KW - 1) * dw + 1;
    /* pooled outputs whose inputs the strip holds */
    const int room = (STRIP - 16) / (high * C), most = min(PW, ((room - reach) / sw + 1) / pool_w);
    /* taps of a kernel row are one run */
    const int runs = dw == 1 ? KH : KH * KW, run = dw == 1 ? KW * C : C;

    for (int line = first; line < last; line++) {
        const int b = line / PH, p = line - b * PH, ih0 = p * pool_h * sh - ph;
        for (int q0 = 0; q0 < PW; q0 += most) {
            const int count = min(most, PW - q0), wide = (count * pool_w - 1) * sw + reach;
            const int iw0 = q0 * pool_w * sw - pw, left = clamp(-iw0, 0, wide), right = clamp(W - iw0, left, wide);
            for (int i = 0; i < high; i++) {
                float *to = strip + i * wide * C;
                if ((uint)(ih0 + i) >= (uint)H) {
                    block_zero(to, wide * C);
                    continue;
                }
                const int source = x_off + b * x_n + (ih0 + i) * x_h + (iw0 + left) * x_w;
                block_zero(to, left * C);
                pool_line(to + left * C, x, source, right - left, C, x_w, x_c, limit);
                block_zero(to + right * C, (wide - right) * C);
            }
            for (int t = 0; t < runs; t++)
                tap[t] = dw == 1 ? t * dh * wide * C : (t / KW * dh * wide + t % KW * dw) * C;
            for (int q = 0; q < count; q += across) {
                const int many = min(across, count - q);
                for (int r = 0; r < MR; r++) { /* those beyond the last window repeat it */
                    const int i = r % window, k = min(r / window, many - 1);
                    row[r] = (i / pool_w * sh * wide + ((q + k) * pool_w + i % pool_w) * sw) * C;
                }
                for (int panel = p_begin; panel < p_end; panel++) {
                    const int n = panel * 32, left_columns = OC - n;
                    GPTR(const TB) weights = w + panel * depth * 32;
                    if (left_columns > 16) pool_micro_32(strip, row, runs, run, tap, weights, sums);
                    else pool_micro_16(strip, row, runs, run, tap, weights, sums);
                    for (int k = 0; k < many; k++) {
                        const int m = (p * pool_h) * OW + (q0 + q + k) * pool_w, pooled_m = p * PW + q0 + q + k;
                        const int at = y_off + (b * PH * PW + pooled_m) * y_ld;
                        for (int h = 0; h < 2 && left_columns > 16 * h; h++) {
                            const int columns = left_columns - 16 * h, channel = n + 16 * h;
                            const float16 *s = sums + k * window * 2 + h;
                            if (columns >= 16) {
                                float16 v = EPILOGUE_V(s[0], b, m, channel);
                                for (int i = 1; i < window; i++) {
                                    const float16 next =
                                        EPILOGUE_V(s[2 * i], b, m + i / pool_w * OW + i % pool_w, channel);
                                    v = POOL_JOIN(v, next);
                                }
                                if (average) v /= (float)window;
                                TC_store_v(y, at + channel, POOLED_V(v, b, pooled_m, channel));
                                continue;
                            }
                            for (int j = 0; j < columns; j++) {
                                const float *lane = (const float *)s + j;
                                float v = EPILOGUE(lane[0], b, m, channel + j);
                                for (int i = 1; i < window; i++) {
                                    const float next =
                                        EPILOGUE(lane[32 * i], b, m + i / pool_w * OW + i % pool_w, channel + j);
                                    v = POOL_JOIN(v, next);
                                }
                                if (average) v /= (float)window;
                                TC_store(y, at + channel + j, POOLED(v, b, pooled_m, channel + j));
                            }
                        }
                    }
                }
            }
        }
    }
}
