/* A work-item takes up to KEY_BLOCK keys of one head of keys, and all queries that see them, 48 at a time, of every
 * head of queries that shares them, in their order.
 *
 * Keys and values lie in panels for the whole work-item, their gradients in private memory.  Weights and changes of 48
 * queries are made 12 rows at a time; then each is the transposed factor of one product with so many rows of g or q.
 * Where these are all the keys (`whole`), the rows' maxima and sums follow from the scores here, and dq is one product
 * more; else they come from the pass over the queries. */
#define MR 12
#define QUERY_BLOCK 48
#define LD ((MAX_D > KEY_BLOCK ? MAX_D : KEY_BLOCK) + 16)
#define WIDE ((MAX_D + 31) / 32 * 32)

#include "attention_block.clh"
#include "attention_gradient.clh"
ATTENTION_PANEL(attention_columns, ATTENTION_AT_COLUMN)

KERNEL_ENTRY {
    const int splits = group_count(0) / (B * HK);
    const int each = ((T_len + splits - 1) / splits + 15) / 16 * 16; /* keys of a work-item; at most KEY_BLOCK */
    const int head = group_id(0) / splits % HK;
    const int b = group_id(0) / splits / HK;
    const int t0 = group_id(0) % splits * each;
    const int keys = min(each, T_len - t0);
    const int16 lane = attention_lanes();
    if (keys <= 0) return;
    GPTR(const T) kp = k + k_off + b * k_b + head * k_h + t0 * k_t;
    GPTR(const T) vp = v + v_off + b * v_b + head * v_h + t0 * v_t;
    float16 key_vectors[KEY_BLOCK * MAX_D / 16], value_vectors[KEY_BLOCK * MAX_D / 16], again_vectors[KEY_BLOCK * WIDE / 16];
    float16 dk_vectors[(KEY_BLOCK + MR) * WIDE / 16], dv_vectors[(KEY_BLOCK + MR) * WIDE / 16];
    float16 query_vectors[MR * LD / 16], grad_vectors[MR * LD / 16], out_vectors[MR * WIDE / 16];
    float16 query_panels[QUERY_BLOCK * WIDE / 16], grad_panels[QUERY_BLOCK * WIDE / 16];
    float16 weight_vectors[QUERY_BLOCK * LD / 16], change_vectors[QUERY_BLOCK * LD / 16], row_vectors[4];
    float *key_panels = (float *)key_vectors, *value_panels = (float *)value_vectors, *again = (float *)again_vectors;
    float *dk_sums = (float *)dk_vectors, *dv_sums = (float *)dv_vectors;
    float *query = (float *)query_vectors, *grad = (float *)grad_vectors, *out = (float *)out_vectors;
    float *queries = (float *)query_panels, *grads = (float *)grad_panels;
    float *base = (float *)row_vectors, *inverse = base + 16, *delta = base + 32, *ones = base + 48;
    vstore16((float16)(1.0f), 0, ones);
    for (int i = 0; i < (keys + MR) * WIDE; i += 16) {
        vstore16((float16)(0.0f), 0, dk_sums + i);
        vstore16((float16)(0.0f), 0, dv_sums + i);
    }
    attention_keys(kp, k_t, keys, D, key_panels);
    attention_keys(vp, v_t, keys, DV, value_panels);
    if (whole) attention_values(kp, k_t, keys, D, again);

    for (int h = head * (H / HK); h < (head + 1) * (H / HK); h++) {
        GPTR(const T) qp = q + q_off + b * q_b + h * q_h;
        GPTR(const T) op = o + o_off + b * o_b + h * o_h;
        GPTR(const T) gp = g + g_off + b * g_b + h * g_h;
        GPTR(T) dqp = dq + dq_off + b * dq_b + h * dq_h;
        GPTR(const float) row = rows + (b * H + h) * 3 * S;
        for (int s0 = 0; s0 < S; s0 += QUERY_BLOCK) {
            const int n = min(QUERY_BLOCK, S - s0);
            const int visible = causal ? clamp(s0 + n + causal_offset - t0, 0, keys) : keys;
            if (visible == 0 && !whole) continue;
            for (int at = 0; at < n; at += MR) {
                const int s = s0 + at, count = min(MR, n - at);
                const int here = causal ? clamp(s + count + causal_offset - t0, 0, keys) : keys;
                float *weights = (float *)weight_vectors + at * LD, *changes = (float *)change_vectors + at * LD;
                attention_queries(qp + s * q_s, q_s, count, D, scale, query);
                attention_queries(gp + s * g_s, g_s, count, DV, 1.0f, grad);
                for (int t = 0; t < here; t += 32) {
                    attention_panel(count, here - t, query, key_panels + t * D, D, weights + t, LD, 1, ones);
                    attention_panel(count, here - t, grad, value_panels + t * DV, DV, changes + t, LD, 1, ones);
                }
                float16 part[16];
                for (int r = 0; r < 16; r++) part[r] = -A_INF;
                for (int r = 0; r < count; r++) {
                    const int seen = attention_seen(s + r, t0, here, causal, causal_offset);
                    part[r] = attention_scores(weights + r * LD, seen, T_len, b, h, s + r, t0 SCORE_ARGUMENTS);
                }
                if (whole) {
                    const float16 top = lanes_across_max(part);
                    vstore16(top == -A_INF ? (float16)(0.0f) : top, 0, base);
                    vstore16(attention_deltas(grad, op + s * o_s, o_s, count, DV), 0, delta);
                } else {
                    for (int r = 0; r < count; r++) {
                        base[r] = row[s + r];
                        inverse[r] = row[S + s + r];
                        delta[r] = row[2 * S + s + r];
                    }
                }
                for (int r = 0; r < count; r++) {
                    const int seen = attention_seen(s + r, t0, here, causal, causal_offset);
                    part[r] = attention_weights(weights + r * LD, seen, visible + MR, base[r]);
                }
                if (whole) {
                    const float16 sum = lanes_across_sum(part);
                    vstore16(lane < count && sum != 0.0f ? 1.0f / sum : (float16)(0.0f), 0, inverse);
                }
                for (int r = 0; r < count; r++) {
                    const int seen = attention_seen(s + r, t0, here, causal, causal_offset);
                    attention_changes(weights + r * LD, changes + r * LD, seen, visible + MR, inverse[r], delta[r]);
                }
                if (!whole) continue;
                attention_blank(changes, count, here);
                for (int d = 0; d < D; d += 32)
                    attention_panel(count, D - d, changes, again + d * keys, here, out + d, WIDE, 1, ones);
                attention_store(out, WIDE, count, D, scale, dqp + s * dq_s, dq_s);
            }
            if (visible == 0) continue;
            attention_values(qp + s0 * q_s, q_s, n, D, queries);
            attention_values(gp + s0 * g_s, g_s, n, DV, grads);
            for (int t = 0; t < visible; t += MR) {
                const int count = min(MR, visible - t);
                const int from = causal ? clamp(t0 + t - causal_offset - s0, 0, n) : 0; /* the first that sees key t */
                const float *weights = (float *)weight_vectors + from * LD + t;
                const float *changes = (float *)change_vectors + from * LD + t;
                for (int d = 0; d < DV; d += 32)
                    attention_columns(count, DV - d, weights, grads + d * n + from * 32, n - from,
                                      dv_sums + t * WIDE + d, WIDE, 0, ones);
                for (int d = 0; d < D; d += 32)
                    attention_columns(count, D - d, changes, queries + d * n + from * 32, n - from,
                                      dk_sums + t * WIDE + d, WIDE, 0, ones);
            }
        }
    }
    attention_store(dk_sums, WIDE, keys, D, scale, dk + dk_off + b * dk_b + head * dk_h + t0 * dk_t, dk_t);
    attention_store(dv_sums, WIDE, keys, DV, 1.0f, dv + dv_off + b * dv_b + head * dv_h + t0 * dv_t, dv_t);
}
