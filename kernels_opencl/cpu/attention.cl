/* A work-item takes blocks of 12 queries of one head: every splits-th, so that work is even where keys are hidden.
 *
 * It packs up to KEY_BLOCK keys, transposed, and values into panels of 32 columns once for all its queries.  A block's
 * scores of all these keys are one product, lie in the first-level cache, get maximum and exponentials by vectors along
 * the keys, and are a factor of the second product.  Where all keys fit, that is all; else sums and outputs of HELD
 * blocks of queries wait in private memory, and are rescaled when later keys raise a maximum (online softmax). */
#define MR 12
/* between rows of queries and of scores; no multiple of 1 KiB, so that rows fall into different cache sets */
#define LD ((MAX_D > KEY_BLOCK ? MAX_D : KEY_BLOCK) + 16)
#define WIDE ((MAX_D + 31) / 32 * 32)
#define HELD (1536 / WIDE) /* panels are packed anew for so many blocks where keys do not fit */

#include "attention_block.clh"

KERNEL_ENTRY {
    ATTENTION_HEAD
    GPTR(T) op = o + o_off + b * o_b + h * o_h;
    /* vectors, so that they are aligned as such */
    float16 key_vectors[KEY_BLOCK * MAX_D / 16], value_vectors[KEY_BLOCK * WIDE / 16], query_vectors[MR * LD / 16];
    float16 score_vectors[MR * LD / 16], out_vectors[HELD * MR * WIDE / 16], row_vectors[2];
    float *key_panels = (float *)key_vectors, *value_panels = (float *)value_vectors;
    float *query = (float *)query_vectors, *scores = (float *)score_vectors;
    float *base = (float *)row_vectors, *alpha = base + 16;
    float16 tops[HELD], sums[HELD]; /* a row in each lane */
    int packed = 0;                 /* keys from the first on that lie in the panels */

    for (int first = split; first < blocks; first += HELD * splits) {
        const int held = min(HELD, (blocks - first + splits - 1) / splits);
        const int s_end = min(S, (first + (held - 1) * splits + 1) * MR);
        const int t_end = causal ? clamp(s_end + causal_offset, 0, T_len) : T_len;
        int t0 = 0;
        do {
            const int keys = min(KEY_BLOCK, t_end - t0);
            if (t0 > 0 || packed < keys) {
                attention_keys(kp + t0 * k_t, k_t, keys, D, key_panels);
                attention_values(vp + t0 * v_t, v_t, keys, DV, value_panels);
                packed = keys;
            }
            for (int i = 0; i < held; i++) {
                const int s0 = (first + i * splits) * MR, rows = min(MR, S - s0);
                const int visible = causal ? clamp(s0 + rows + causal_offset - t0, 0, keys) : keys;
                float *out = (float *)out_vectors + i * MR * WIDE;
                if (t0 == 0) {
                    tops[i] = -A_INF;
                    sums[i] = 0.0f;
                    if (visible == 0)
                        for (int j = 0; j < MR * WIDE; j++) out[j] = 0.0f;
                }
                if (visible > 0) {
                    attention_queries(qp + s0 * q_s, q_s, rows, D, scale, query);
                    for (int t = 0; t < visible; t += 32)
                        attention_panel(rows, visible - t, query, key_panels + t * D, D, scores + t, LD, 1, alpha);
                    attention_weigh(scores, rows, visible, tops + i, sums + i, base, alpha, T_len, b, h, s0, t0, causal,
                                    causal_offset SCORE_ARGUMENTS);
                    /* a last panel of half the width takes more rows than the scores' product made */
                    if ((DV - 1) % 32 < 16) attention_blank(scores, rows, visible);
                    for (int d = 0; d < DV; d += 32)
                        attention_panel(rows, DV - d, scores, value_panels + d * packed, visible, out + d, WIDE, t0 == 0,
                                        alpha);
                }
                if (t0 + KEY_BLOCK < t_end) continue;
                vstore16(sums[i] == 0.0f ? (float16)(0.0f) : 1.0f / sums[i], 0, base);
                for (int r = 0; r < rows; r++) {
                    const float inverse = base[r];
                    const int to = (s0 + r) * o_s;
                    int d = 0;
                    for (; d + 16 <= DV; d += 16) T_store_v(op, to + d, vload16(0, out + r * WIDE + d) * inverse);
                    for (; d < DV; d++) T_store(op, to + d, out[r * WIDE + d] * inverse);
                }
            }
            t0 += KEY_BLOCK;
        } while (t0 < t_end);
        if (t_end > KEY_BLOCK) packed = 0;
    }
}
