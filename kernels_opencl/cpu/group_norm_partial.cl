/* Mean and squares per channel of chunks of pixels: vectors of 16 channels, two sweeps over a chunk that stays in the
 * cache.  A ragged last vector is moved back to end at C: the same values are written twice by the same work-item.
 * Fewer than 16 channels are done in scalars. */
KERNEL_ENTRY {
    const int units = N * S, share = (units + group_count(0) - 1) / group_count(0);
    const int from = group_id(0) * share, to = min(units, from + share);
    for (int unit = from; unit < to; unit++) {
        const int n = unit / S, start = unit % S * chunk, stop = min(P, start + chunk);
        const float share_of_one = 1.0f / (float)(stop - start);
        GPTR(float) q = part + unit * 2 * C;
        for (int c = 0; c < C && C < 16; c++) {
            GPTR(const T) p = x + x_off + (n * P + start) * x_ld + c;
            float m = 0, s = 0;
            for (int k = start; k < stop; k++) m += PROLOGUE(T_load(p, (k - start) * x_ld), n, k, c);
            m *= share_of_one;
            for (int k = start; k < stop; k++) {
                const float d = PROLOGUE(T_load(p, (k - start) * x_ld), n, k, c) - m;
                s += d * d;
            }
            q[c] = m;
            q[C + c] = s;
        }
        for (int done = C < 16 ? C : 0; done < C;) {
            if (done + 64 <= C) {
                GPTR(const T) p = x + x_off + (n * P + start) * x_ld + done;
                float16 m0 = (float16)(0), m1 = m0, m2 = m0, m3 = m0, s0 = m0, s1 = m0, s2 = m0, s3 = m0;
                GPTR(const T) w = p;
                for (int k = start; k < stop; k++, w += x_ld) {
                    m0 += PROLOGUE_V(T_load_v(w, 0), n, k, done);
                    m1 += PROLOGUE_V(T_load_v(w, 16), n, k, done + 16);
                    m2 += PROLOGUE_V(T_load_v(w, 32), n, k, done + 32);
                    m3 += PROLOGUE_V(T_load_v(w, 48), n, k, done + 48);
                }
                m0 *= share_of_one;
                m1 *= share_of_one;
                m2 *= share_of_one;
                m3 *= share_of_one;
                w = p;
                for (int k = start; k < stop; k++, w += x_ld) {
                    const float16 d0 = PROLOGUE_V(T_load_v(w, 0), n, k, done) - m0;
                    const float16 d1 = PROLOGUE_V(T_load_v(w, 16), n, k, done + 16) - m1;
                    const float16 d2 = PROLOGUE_V(T_load_v(w, 32), n, k, done + 32) - m2;
                    const float16 d3 = PROLOGUE_V(T_load_v(w, 48), n, k, done + 48) - m3;
                    s0 += d0 * d0;
                    s1 += d1 * d1;
                    s2 += d2 * d2;
                    s3 += d3 * d3;
                }
                vstore16(m0, 0, q + done);
                vstore16(m1, 0, q + done + 16);
                vstore16(m2, 0, q + done + 32);
                vstore16(m3, 0, q + done + 48);
                vstore16(s0, 0, q + C + done);
                vstore16(s1, 0, q + C + done + 16);
                vstore16(s2, 0, q + C + done + 32);
                vstore16(s3, 0, q + C + done + 48);
                done += 64;
                continue;
            }
            const int c = min(done, C - 16);
            GPTR(const T) p = x + x_off + (n * P + start) * x_ld + c;
            float16 m = (float16)(0), s = m;
            for (int k = start; k < stop; k++) m += PROLOGUE_V(T_load_v(p, (k - start) * x_ld), n, k, c);
            m *= share_of_one;
            for (int k = start; k < stop; k++) {
                const float16 d = PROLOGUE_V(T_load_v(p, (k - start) * x_ld), n, k, c) - m;
                s += d * d;
            }
            vstore16(m, 0, q + c);
            vstore16(s, 0, q + C + c);
            done += 16;
        }
    }
}
