/* Sums of g and of g (x - mean) per channel of chunks of pixels: vectors of 16 channels, two at a time, which is one cache
 * line of each input and the next.  Two pixels a step hide the latency of additions.  A ragged last vector is moved back
 * to end at C: the same values are written twice by the same work-item.  Fewer than 16 channels are done in scalars. */
#define STEP(a, b, k, lane)                                                                                   \
    {                                                                                                         \
        const float16 v = T_load_v(w, (k) * g_ld + lane);                                                     \
        a##lane += v;                                                                                         \
        b##lane += v * (T_load_v(p, (k) * x_ld + lane) - m##lane);                                            \
    }

KERNEL_ENTRY {
    const int units = N * S, share = (units + group_count(0) - 1) / group_count(0);
    const int from = group_id(0) * share, to = min(units, from + share);
    for (int unit = from; unit < to; unit++) {
        const int n = unit / S, start = unit % S * chunk, stop = min(P, start + chunk);
        GPTR(float) q = part + unit * 2 * C;
        for (int c = 0; c < C && C < 16; c++) {
            const float m = mean[n * C + c];
            float a = 0, b = 0;
            for (int k = start; k < stop; k++) {
                const float v = T_load(g, g_off + (n * P + k) * g_ld + c);
                a += v;
                b += v * (T_load(x, x_off + (n * P + k) * x_ld + c) - m);
            }
            q[c] = a;
            q[C + c] = b;
        }
        for (int done = C < 16 ? C : 0; done < C;) {
            if (done + 32 <= C) {
                GPTR(const T) p = x + x_off + (n * P + start) * x_ld + done;
                GPTR(const T) w = g + g_off + (n * P + start) * g_ld + done;
                const float16 m0 = vload16(0, mean + n * C + done), m16 = vload16(0, mean + n * C + done + 16);
                float16 a0 = (float16)(0), a16 = a0, b0 = a0, b16 = a0, c0 = a0, c16 = a0, d0 = a0, d16 = a0;
                int k = start;
                for (; k + 2 <= stop; k += 2, p += 2 * x_ld, w += 2 * g_ld) {
                    STEP(a, b, 0, 0)
                    STEP(a, b, 0, 16)
                    STEP(c, d, 1, 0)
                    STEP(c, d, 1, 16)
                }
                if (k < stop) {
                    STEP(a, b, 0, 0)
                    STEP(a, b, 0, 16)
                }
                vstore16(a0 + c0, 0, q + done);
                vstore16(a16 + c16, 0, q + done + 16);
                vstore16(b0 + d0, 0, q + C + done);
                vstore16(b16 + d16, 0, q + C + done + 16);
                done += 32;
                continue;
            }
            const int c = min(done, C - 16);
            GPTR(const T) p = x + x_off + (n * P + start) * x_ld + c;
            GPTR(const T) w = g + g_off + (n * P + start) * g_ld + c;
            const float16 m0 = vload16(0, mean + n * C + c);
            float16 a0 = (float16)(0), b0 = a0;
            for (int k = start; k < stop; k++, p += x_ld, w += g_ld) STEP(a, b, 0, 0)
            vstore16(a0, 0, q + c);
            vstore16(b0, 0, q + C + c);
            done += 16;
        }
    }
}
