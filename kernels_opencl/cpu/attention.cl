#include "exp_below.clh"
#include "lanes.clh"

/* A work-item takes 32 queries of one head and walks over the keys in blocks.  Queries live in the lanes of two
 * vectors, so that scores, the softmax's running maximum and sum, and the output accumulators are all lane-wise: keys
 * and values are read in place, one scalar for 32 multiply-adds, and only the queries and the output are transposed.
 *
 * The last block of a long sequence starts at S - 32, so that its lanes are all inside, and stores only its own rows. */
#define LANES 32
#define TILE 8 /* keys (then output columns) whose accumulators are in registers */

typedef struct {
    float16 a, b;
} lanes_t;

/* the queries, transposed: qt[d] holds dimension d of all lanes, times scale */
FN void attention_queries(GPTR(const T) q, int q_s, int D, int lanes, float scale, lanes_t *qt) {
    for (int side = 0; side < 2; side++) {
        const int here = clamp(lanes - side * 16, 0, 16);
        GPTR(const T) rows = q + side * 16 * q_s;
        int d = 0;
        if (here == 16)
            for (; d + 16 <= D; d += 16) {
                float16 r[16];
                UNROLL for (int i = 0; i < 16; i++) r[i] = T_load_v(rows, i * q_s + d) * scale;
                lanes_transpose(r);
                if (side == 0)
                    UNROLL for (int i = 0; i < 16; i++) qt[d + i].a = r[i];
                else
                    UNROLL for (int i = 0; i < 16; i++) qt[d + i].b = r[i];
            }
        for (; d < D; d++) {
            float *to = (float *)&qt[d] + side * 16;
            for (int i = 0; i < 16; i++) to[i] = i < here ? T_load(rows, i * q_s + d) * scale : 0.0f;
        }
    }
}

/* scores of TILE keys */
FN void attention_dots(GPTR(const T) k, int k_t, int last, int D, const lanes_t *qt, float16 *a, float16 *b) {
    GPTR(const T) row[TILE];
    UNROLL for (int i = 0; i < TILE; i++) {
        row[i] = k + min(i, last) * k_t;
        a[i] = b[i] = 0.0f;
    }
    for (int d = 0; d < D; d++) {
        const float16 qa = qt[d].a, qb = qt[d].b;
        UNROLL for (int i = 0; i < TILE; i++) {
            const float16 x = T_load(row[i], d);
            a[i] = fma(x, qa, a[i]);
            b[i] = fma(x, qb, b[i]);
        }
    }
}

FN void attention_values(GPTR(const T) v, int v_t, int keys, const lanes_t *p, lanes_t alpha, lanes_t *out) {
    float16 a[TILE], b[TILE];
    UNROLL for (int i = 0; i < TILE; i++) {
        a[i] = out[i].a * alpha.a;
        b[i] = out[i].b * alpha.b;
    }
    for (int t = 0; t < keys; t++) {
        const float16 pa = p[t].a, pb = p[t].b;
        UNROLL for (int i = 0; i < TILE; i++) {
            const float16 x = T_load(v, t * v_t + i);
            a[i] = fma(x, pa, a[i]);
            b[i] = fma(x, pb, b[i]);
        }
    }
    UNROLL for (int i = 0; i < TILE; i++) {
        out[i].a = a[i];
        out[i].b = b[i];
    }
}

FN void attention_value(GPTR(const T) v, int v_t, int keys, const lanes_t *p, lanes_t alpha, lanes_t *out) {
    float16 a = out->a * alpha.a, b = out->b * alpha.b;
    for (int t = 0; t < keys; t++) {
        const float16 x = T_load(v, t * v_t);
        a = fma(x, p[t].a, a);
        b = fma(x, p[t].b, b);
    }
    out->a = a;
    out->b = b;
}

FN void attention_store(GPTR(T) o, int o_s, int DV, int first, int lanes, const lanes_t *out) {
    for (int side = 0; side < 2; side++) {
        const int begin = clamp(first - side * 16, 0, 16), end = clamp(lanes - side * 16, 0, 16);
        GPTR(T) rows = o + side * 16 * o_s;
        int d = 0;
        for (; d + 16 <= DV && begin < end; d += 16) {
            float16 r[16];
            UNROLL for (int i = 0; i < 16; i++) r[i] = side == 0 ? out[d + i].a : out[d + i].b;
            lanes_transpose(r);
            if (begin == 0 && end == 16)
                UNROLL for (int i = 0; i < 16; i++) T_store_v(rows, i * o_s + d, r[i]);
            else
                for (int i = begin; i < end; i++) T_store_v(rows, i * o_s + d, r[i]);
        }
        for (; d < DV; d++) {
            const float *from = (const float *)&out[d] + side * 16;
            for (int i = begin; i < end; i++) T_store(rows, i * o_s + d, from[i]);
        }
    }
}

KERNEL_ENTRY {
    const int blocks = (S + LANES - 1) / LANES;
    const int block = group_id(0) % blocks;
    const int h = group_id(0) / blocks % H;
    const int b = group_id(0) / blocks / H;
    const int lanes = min(S, LANES);
    const int s0 = min(block * LANES, S - lanes); /* the query in lane 0 */
    const int first = block * LANES - s0;         /* the first lane that is this work-item's to store */
    GPTR(const T) kp = k + k_off + b * k_b + h * HK / H * k_h;
    GPTR(const T) vp = v + v_off + b * v_b + h * HK / H * v_h;
    const int16 lane = (int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    int t_end = T_len;
    if (causal) t_end = clamp(s0 + lanes + causal_offset, 0, T_len);

    lanes_t qt[MAX_D], out[MAX_D], p[KEY_BLOCK];
    attention_queries(q + q_off + b * q_b + h * q_h + s0 * q_s, q_s, D, lanes, scale, qt);
    for (int d = 0; d < DV; d++) out[d].a = out[d].b = 0.0f;
    lanes_t top, sum;
    top.a = top.b = -A_INF;
    sum.a = sum.b = 0.0f;

    for (int t0 = 0; t0 < t_end; t0 += KEY_BLOCK) {
        const int keys = min(KEY_BLOCK, t_end - t0);
        const int diagonal = causal && t0 + keys > s0 + causal_offset + 1;
        lanes_t high = top;
        for (int t = 0; t < keys; t += TILE) {
            float16 sa[TILE], sb[TILE];
            const int last = keys - t - 1;
            attention_dots(kp + (t0 + t) * k_t, k_t, last, D, qt, sa, sb);
            UNROLL for (int i = 0; i < TILE; i++) {
                if (i > last) continue;
                const int key = t0 + t + i;
                if (S >= LANES) {
                    sa[i] = SCORE_V(sa[i], b, h, key, s0);
                    sb[i] = SCORE_V(sb[i], b, h, key, s0 + 16);
                } else { /* no room for a vector of operands */
                    float x[LANES];
                    vstore16(sa[i], 0, x);
                    vstore16(sb[i], 1, x);
                    for (int j = 0; j < lanes; j++) x[j] = SCORE(x[j], b, h, key, s0 + j);
                    sa[i] = vload16(0, x);
                    sb[i] = vload16(1, x);
                }
                if (diagonal) {
                    const int16 seen = key - causal_offset - s0; /* lanes from here on see the key */
                    sa[i] = lane >= seen ? sa[i] : (float16)(-A_INF);
                    sb[i] = lane + 16 >= seen ? sb[i] : (float16)(-A_INF);
                }
                p[t + i].a = sa[i];
                p[t + i].b = sb[i];
                high.a = high.a > sa[i] ? high.a : sa[i];
                high.b = high.b > sb[i] ? high.b : sb[i];
            }
        }
        /* where nothing is seen yet, any finite reference makes the weights 0 */
        lanes_t base, alpha;
        base.a = high.a == -A_INF ? (float16)(0.0f) : high.a;
        base.b = high.b == -A_INF ? (float16)(0.0f) : high.b;
        alpha.a = exp_below(top.a - base.a);
        alpha.b = exp_below(top.b - base.b);
        top = high;
        sum.a *= alpha.a;
        sum.b *= alpha.b;
        for (int t = 0; t < keys; t++) {
            const float16 ea = exp_below(p[t].a - base.a), eb = exp_below(p[t].b - base.b);
            p[t].a = ea;
            p[t].b = eb;
            sum.a += ea;
            sum.b += eb;
        }
        GPTR(const T) values = vp + t0 * v_t;
        int d = 0;
        for (; d + TILE <= DV; d += TILE) attention_values(values + d, v_t, keys, p, alpha, out + d);
        for (; d < DV; d++) attention_value(values + d, v_t, keys, p, alpha, out + d);
    }

    lanes_t inverse;
    inverse.a = sum.a == 0.0f ? (float16)(0.0f) : 1.0f / sum.a;
    inverse.b = sum.b == 0.0f ? (float16)(0.0f) : 1.0f / sum.b;
    for (int d = 0; d < DV; d++) {
        out[d].a *= inverse.a;
        out[d].b *= inverse.b;
    }
    attention_store(o + o_off + b * o_b + h * o_h + s0 * o_s, o_s, DV, first, lanes, out);
}
