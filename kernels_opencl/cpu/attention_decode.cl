#include "exp_below.clh"

/* Few queries against a long cache: a work-item takes one query of one head; head dimensions are in the lanes, keys and
 * values stream through once. */
#define KEYS 64

FN float attention_total(float16 x) {
    const float8 a = x.lo + x.hi;
    const float4 b = a.lo + a.hi;
    const float2 c = b.lo + b.hi;
    return c.x + c.y;
}

KERNEL_ENTRY {
    const int s = group_id(0) % S;
    const int h = group_id(0) / S % H;
    const int b = group_id(0) / S / H;
    GPTR(const T) qp = q + q_off + b * q_b + h * q_h + s * q_s;
    GPTR(const T) kp = k + k_off + b * k_b + h * HK / H * k_h;
    GPTR(const T) vp = v + v_off + b * v_b + h * HK / H * v_h;
    GPTR(T) op = o + o_off + b * o_b + h * o_h + s * o_s;
    int t_end = T_len;
    if (causal) t_end = clamp(s + 1 + causal_offset, 0, T_len);

    float query[MAX_D], out[MAX_D], p[KEYS];
    for (int d = 0; d < D; d++) query[d] = T_load(qp, d) * scale;
    for (int d = 0; d < DV; d++) out[d] = 0.0f;
    float top = -A_INF, sum = 0.0f;
    for (int t0 = 0; t0 < t_end; t0 += KEYS) {
        const int keys = min(KEYS, t_end - t0);
        float high = top;
        for (int t = 0; t < keys; t += 4) { /* four at a time hide the latency of a multiply-add */
            float16 dot[4];
            GPTR(const T) row[4];
            UNROLL for (int i = 0; i < 4; i++) {
                row[i] = kp + (t0 + min(t + i, keys - 1)) * k_t;
                dot[i] = 0.0f;
            }
            int d = 0;
            for (; d + 16 <= D; d += 16) {
                const float16 x = vload16(0, query + d);
                UNROLL for (int i = 0; i < 4; i++) dot[i] = fma(x, T_load_v(row[i], d), dot[i]);
            }
            UNROLL for (int i = 0; i < 4; i++) {
                if (t + i >= keys) continue;
                float x = attention_total(dot[i]);
                for (int e = d; e < D; e++) x += query[e] * T_load(row[i], e);
                x = SCORE(x, b, h, s, t0 + t + i);
                p[t + i] = x;
                high = x > high ? x : high;
            }
        }
        const float base = high == -A_INF ? 0.0f : high;
        const float alpha = exp(top - base);
        top = high;
        sum *= alpha;
        for (int t = keys; t < (keys + 15 & ~15); t++) p[t] = -A_INF;
        for (int t = 0; t < keys; t += 16) {
            const float16 e = exp_below(vload16(0, p + t) - base);
            vstore16(e, 0, p + t);
            sum += attention_total(e);
        }
        GPTR(const T) values = vp + t0 * v_t;
        int d = 0;
        for (; d + 64 <= DV; d += 64) {
            float16 acc[4];
            UNROLL for (int i = 0; i < 4; i++) acc[i] = vload16(i, out + d) * alpha;
            for (int t = 0; t < keys; t++) {
                const float16 x = p[t];
                UNROLL for (int i = 0; i < 4; i++) acc[i] = fma(x, T_load_v(values, t * v_t + d + 16 * i), acc[i]);
            }
            UNROLL for (int i = 0; i < 4; i++) vstore16(acc[i], i, out + d);
        }
        for (; d + 16 <= DV; d += 16) {
            float16 acc = vload16(0, out + d) * alpha;
            for (int t = 0; t < keys; t++) acc = fma((float16)p[t], T_load_v(values, t * v_t + d), acc);
            vstore16(acc, 0, out + d);
        }
        for (; d < DV; d++) {
            float acc = out[d] * alpha;
            for (int t = 0; t < keys; t++) acc += p[t] * T_load(values, t * v_t + d);
            out[d] = acc;
        }
    }
    const float inverse = sum == 0.0f ? 0.0f : 1.0f / sum;
    for (int d = 0; d < DV; d++) T_store(op, d, out[d] * inverse);
}
