/* As cpu/attention.cl: a work-item takes every splits-th block of 12 queries of one head, and HELD of them wait while
 * keys go by.  Keys are packed twice, transposed for the scores and as they are for dq; values transposed. */
#define MR 12
#define LD ((MAX_D > KEY_BLOCK ? MAX_D : KEY_BLOCK) + 16)
#define WIDE ((MAX_D + 31) / 32 * 32)
#define HELD (1536 / WIDE)

#include "attention_block.clh"
#include "attention_gradient.clh"

KERNEL_ENTRY {
    ATTENTION_HEAD
    GPTR(const T) op = o + o_off + b * o_b + h * o_h;
    GPTR(const T) gp = g + g_off + b * g_b + h * g_h;
    GPTR(T) dqp = dq + dq_off + b * dq_b + h * dq_h;
    GPTR(float) row = rows + (b * H + h) * 3 * S;
    float16 key_vectors[KEY_BLOCK * MAX_D / 16], value_vectors[KEY_BLOCK * MAX_D / 16], again_vectors[KEY_BLOCK * WIDE / 16];
    float16 query_vectors[MR * LD / 16], grad_vectors[MR * LD / 16];
    float16 score_vectors[MR * LD / 16], change_vectors[MR * LD / 16], out_vectors[HELD * MR * WIDE / 16], row_vectors[3];
    float *key_panels = (float *)key_vectors, *value_panels = (float *)value_vectors, *again = (float *)again_vectors;
    float *query = (float *)query_vectors, *grad = (float *)grad_vectors;
    float *scores = (float *)score_vectors, *changes = (float *)change_vectors;
    float *base = (float *)row_vectors, *alpha = base + 16, *delta = base + 32;
    float16 tops[HELD], sums[HELD], deltas[HELD]; /* a row in each lane */
    int packed = 0;                               /* keys from the first on that lie in the panels */

    for (int first = split; first < blocks; first += HELD * splits) {
        const int held = min(HELD, (blocks - first + splits - 1) / splits);
        const int s_end = min(S, (first + (held - 1) * splits + 1) * MR);
        const int t_end = causal ? clamp(s_end + causal_offset, 0, T_len) : T_len;
        int t0 = 0;
        do {
            const int keys = min(KEY_BLOCK, t_end - t0);
            if (t0 > 0 || packed < keys) {
                attention_keys(kp + t0 * k_t, k_t, keys, D, key_panels);
                attention_keys(vp + t0 * v_t, v_t, keys, DV, value_panels);
                attention_values(kp + t0 * k_t, k_t, keys, D, again);
                packed = keys;
            }
            for (int i = 0; i < held; i++) {
                const int s0 = (first + i * splits) * MR, count = min(MR, S - s0);
                const int visible = causal ? clamp(s0 + count + causal_offset - t0, 0, keys) : keys;
                float *out = (float *)out_vectors + i * MR * WIDE;
                if (visible > 0 || t0 == 0) attention_queries(gp + s0 * g_s, g_s, count, DV, 1.0f, grad);
                if (t0 == 0) {
                    tops[i] = -A_INF;
                    sums[i] = 0.0f;
                    deltas[i] = attention_deltas(grad, op + s0 * o_s, o_s, count, DV);
                    if (visible == 0)
                        for (int j = 0; j < MR * WIDE; j++) out[j] = 0.0f;
                }
                if (visible > 0) {
                    attention_queries(qp + s0 * q_s, q_s, count, D, scale, query);
                    for (int t = 0; t < visible; t += 32) {
                        attention_panel(count, visible - t, query, key_panels + t * D, D, scores + t, LD, 1, alpha);
                        attention_panel(count, visible - t, grad, value_panels + t * DV, DV, changes + t, LD, 1, alpha);
                    }
                    attention_weigh(scores, count, visible, tops + i, sums + i, base, alpha, T_len, b, h, s0, t0, causal,
                                    causal_offset SCORE_ARGUMENTS);
                    vstore16(deltas[i], 0, delta);
                    for (int r = 0; r < count; r++) {
                        const int seen = attention_seen(s0 + r, t0, visible, causal, causal_offset);
                        attention_changes(scores + r * LD, changes + r * LD, seen, visible, 1.0f, delta[r]);
                    }
                    attention_blank(changes, count, visible);
                    for (int d = 0; d < D; d += 32)
                        attention_panel(count, D - d, changes, again + d * packed, visible, out + d, WIDE, t0 == 0, alpha);
                }
                if (t0 + KEY_BLOCK < t_end) continue;
                const float16 inverse = sums[i] == 0.0f ? (float16)(0.0f) : 1.0f / sums[i];
                vstore16(tops[i] == -A_INF ? (float16)(0.0f) : tops[i], 0, base);
                vstore16(inverse, 0, alpha);
                vstore16(deltas[i], 0, delta);
                for (int r = 0; r < count; r++) {
                    const int s = s0 + r;
                    attention_store(out + r * WIDE, WIDE, 1, D, alpha[r] * scale, dqp + s * dq_s, dq_s);
                    row[s] = base[r];
                    row[S + s] = alpha[r];
                    row[2 * S + s] = delta[r];
                }
            }
            t0 += KEY_BLOCK;
        } while (t0 < t_end);
        if (t_end > KEY_BLOCK) packed = 0;
    }
}
