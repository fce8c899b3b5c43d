/* Filter gradient of a depthwise convolution, 16 channels at a time.  A work-item takes a share of the lines and 64
 * channels; some lines at a time stay in the cache for all taps.  Along a line, each tap has four sums, as one would wait
 * for itself. */
#define MOST_TAPS 128
#define PIXELS 512 /* of the lines at a time */

__attribute__((reqd_work_group_size(1, 1, 1))) KERNEL_ENTRY {
    float16 sums[MOST_TAPS];
    const int part = group_id(0), lines = N * OD * OH, taps = KD * KH * KW, share = lines / splits;
    const int begin = share * part + min(lines % splits, part), end = begin + share + (part < lines % splits);
    const int c1 = min(C, group_id(1) * 64 + 64), x_step = sw * x_ld, together = max(1, PIXELS / OW);
    GPTR(float) out = parts + part * taps * OC;
    for (int c0 = group_id(1) * 64; c0 < c1; c0 += 16) {
        const int c = min(c0, C - 16), repeated = c0 - c; /* a last vector is moved back: its first lanes are not stored */
        for (int tap = 0; tap < taps; tap++) sums[tap] = 0.0f;
        for (int first = begin; first < end; first += together) {
            const int last = min(end, first + together);
            for (int tap = 0; tap < taps; tap++) {
                const int above = tap / KW, kw = tap - above * KW, kd = above / KH, kh = above - kd * KH;
                /* outputs whose tap is inside the image */
                const int shift = kw * dw - pw, from = shift < 0 ? (-shift + sw - 1) / sw : 0;
                const int to = W - shift <= 0 ? 0 : min(OW, (W - shift + sw - 1) / sw);
                float16 s0 = sums[tap], s1 = 0.0f, s2 = 0.0f, s3 = 0.0f;
                for (int line = first; line < last; line++) {
                    const int plane = line / OH, b = plane / OD;
                    const int id = (plane - b * OD) * sd - pd + kd * dd, ih = (line - plane * OH) * sh - ph + kh * dh;
                    if ((uint)id >= (uint)D || (uint)ih >= (uint)H) continue;
                    int at = x_off + (((b * D + id) * H + ih) * W + from * sw + shift) * x_ld + c;
                    int dy_at = y_off + (line * OW + from) * y_ld + c, ow = from;
                    for (; ow + 4 <= to; ow += 4, at += 4 * x_step, dy_at += 4 * y_ld) {
                        s0 = fma(TA_load_v(x, at), TB_load_v(dy, dy_at), s0);
                        s1 = fma(TA_load_v(x, at + x_step), TB_load_v(dy, dy_at + y_ld), s1);
                        s2 = fma(TA_load_v(x, at + 2 * x_step), TB_load_v(dy, dy_at + 2 * y_ld), s2);
                        s3 = fma(TA_load_v(x, at + 3 * x_step), TB_load_v(dy, dy_at + 3 * y_ld), s3);
                    }
                    for (; ow < to; ow++, at += x_step, dy_at += y_ld)
                        s0 = fma(TA_load_v(x, at), TB_load_v(dy, dy_at), s0);
                }
                sums[tap] = (s0 + s1) + (s2 + s3);
            }
        }
        for (int tap = 0; tap < taps; tap++) {
            if (repeated == 0) {
                vstore16(sums[tap], 0, out + tap * OC + c);
            } else {
                const float *lane = (const float *)(sums + tap);
                for (int l = repeated; l < 16; l++) out[tap * OC + c + l] = lane[l];
            }
        }
    }
}
