/* The online softmax (Milakov and Gimelshein 2018) on a tile of scores that lies in tensor-core accumulators, as
 * FlashAttention-2 (Dao 2023) has it: the four threads of a quad share rows lane / 4 and lane / 4 + 8 of 16 queries, and
 * score[j][2 * r + i] of a thread is row r, key 8 * j + lane % 4 * 2 + i.
 *
 * Scores stay as they come from the product (or from SCORE); FACTOR takes them to powers of two.  With SCORE they are
 * subtracted before they are multiplied: a mask of -3e38 on a whole row must leave differences of 0. */
#ifdef SCORE_EMPTY
#define SCORE_FACTOR(scale) ((scale) * 1.4426950408889634f)
#define SCORE_POWER(x, base, factor) exp2_fast(fma(x, factor, -(base) * (factor)))
#else
#define SCORE_FACTOR(scale) 1.4426950408889634f
#define SCORE_POWER(x, base, factor) exp2_fast(((x) - (base)) * (factor))
#endif

/* keys that query s sees: those before the returned one */
FN int attention_visible(int s, int keys, int causal, int causal_offset) {
    return causal ? min(keys, s + causal_offset + 1) : keys;
}

/* SCORE on a tile, inside the kernel's body (the slot's operands are its parameters): s is the query of row 0, t the key
 * of score[0][0].  Coordinates are clamped, so that nothing outside the operands is read. */
#ifdef SCORE_EMPTY
#define SCORE_TILE(score, count, s, t)
#else
#define SCORE_TILE(score, count, s, t)                                                                                \
    UNROLL for (int r = 0; r < 2; r++) {                                                                              \
        const int row = min((s) + 8 * r, S - 1);                                                                      \
        UNROLL for (int j = 0; j < (count) / 8; j++)                                                                  \
            UNROLL for (int i = 0; i < 2; i++)                                                                        \
                score[j][2 * r + i] =                                                                                 \
                    SCORE(score[j][2 * r + i] * scale, b, h, row, min((t) + 8 * j + i, T_len - 1));                   \
    }
#endif

/* -inf on the keys that a row does not see */
template <int COUNT> FN void attention_mask(float (*score)[4], int s, int t, int keys, int causal, int causal_offset) {
    UNROLL for (int r = 0; r < 2; r++) {
        const int seen = attention_visible(s + 8 * r, keys, causal, causal_offset) - t;
        UNROLL for (int j = 0; j < COUNT / 8; j++)
            UNROLL for (int i = 0; i < 2; i++)
                if (8 * j + i >= seen) score[j][2 * r + i] = -A_INF;
    }
}

/* Scores become weights; top and sum of both rows go on, alpha is what their earlier results are to be scaled by.
 * sum is the thread's own part until attention_total. */
template <int COUNT> FN void attention_weights(float (*score)[4], float *top, float *sum, float *alpha, float factor) {
    UNROLL for (int r = 0; r < 2; r++) {
        float high = top[r];
        UNROLL for (int j = 0; j < COUNT / 8; j++)
            high = fmax(high, fmax(score[j][2 * r], score[j][2 * r + 1])); /* not a NaN: it shows in the sum */
        high = fmax(high, __shfl_xor_sync(0xffffffffu, high, 1));
        high = fmax(high, __shfl_xor_sync(0xffffffffu, high, 2));
        const float base = high == -A_INF ? 0.0f : high; /* nothing seen yet: all weights 0 */
        alpha[r] = exp2_fast((top[r] - base) * factor);
        top[r] = high;
        float part = 0.0f;
        UNROLL for (int j = 0; j < COUNT / 8; j++)
            UNROLL for (int i = 0; i < 2; i++) {
                const float p = SCORE_POWER(score[j][2 * r + i], base, factor);
                score[j][2 * r + i] = p;
                part += p;
            }
        sum[r] = sum[r] * alpha[r] + part;
    }
}

/* 1 / sum over the row's four threads; 0 for a row that sees nothing */
FN float attention_inverse(float sum) {
    sum += __shfl_xor_sync(0xffffffffu, sum, 1);
    sum += __shfl_xor_sync(0xffffffffu, sum, 2);
    return sum == 0.0f ? 0.0f : 1.0f / sum;
}

/* Weights of 16 keys, two accumulators, as the A fragment of a product with 16 rows of v. */
FN void attention_pack(uint *a, const float (*score)[4]) {
    a[0] = PACK(T)(score[0][0], score[0][1]);
    a[1] = PACK(T)(score[0][2], score[0][3]);
    a[2] = PACK(T)(score[1][0], score[1][1]);
    a[3] = PACK(T)(score[1][2], score[1][3]);
}

/* Results of 16 rows, divided by their sums, to the rows of a tile from `row` on; a row's next UNITS units lie
 * `part_bytes` further on. */
template <int COLUMNS, int UNITS_OF_ROW>
FN void attention_finish(uchar *tile, int part_bytes, int row, const float (*out)[4], const float *sum, int lane) {
    UNROLL for (int r = 0; r < 2; r++) {
        const float inverse = attention_inverse(sum[r]);
        UNROLL for (int j = 0; j < COLUMNS / 8; j++) {
            const int unit = tile_unit<UNITS_OF_ROW>(row + lane / 4 + 8 * r, j % UNITS_OF_ROW);
            *(uint *)(tile + j / UNITS_OF_ROW * part_bytes + unit * 16 + lane % 4 * 4) =
                PACK(T)(out[j][2 * r] * inverse, out[j][2 * r + 1] * inverse);
        }
    }
}
