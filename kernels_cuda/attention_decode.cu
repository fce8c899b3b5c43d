/* A few queries over many keys: each key and value is read once, 16 bytes at a time, and what counts is how many such
 * reads are under way.  A block takes ROWS rows (a row: one query of one of the heads that share a key head); its teams
 * of LANES threads take keys in turn, AT_ONCE of them at a time, each with an online softmax of its own; the parts are
 * combined at the end, across a warp by shuffles, across warps through shared memory (flash-decoding within a block:
 * Dao, Haziza, Massa, Sizov 2023).  The order of all sums is fixed. */
#define UNIT (16 / T_bytes)    /* elements in 16 bytes */
#define WIDTH (MAX_D / UNIT)   /* units of a row */
#define LANES (WIDTH < 32 ? WIDTH : 32)
#define SHARE (WIDTH / LANES)  /* units of a thread */
#define THREADS (32 * WARPS)
#define TEAMS (THREADS / LANES)
#define AT_ONCE 4

struct alignas(16) DecodeUnit {
    uint v[4];
};

/* columns c .. c + UNIT of a row, zeros from `columns` on, or everywhere */
FN DecodeUnit decode_load(const T *row, int c, int columns, bool wide, bool valid) {
    DecodeUnit u = {{0, 0, 0, 0}};
    if (!valid || c >= columns) return u;
    if (wide) return *(const DecodeUnit *)(row + c);
    UNROLL for (int i = 0; i < UNIT; i++) {
#if T_bytes == 4
        if (c + i < columns) u.v[i] = ((const uint *)row)[c + i];
#else
        if (c + i < columns) u.v[i / 2] |= (uint)((const ushort *)row)[c + i] << i % 2 * 16;
#endif
    }
    return u;
}
FN bool decode_wide(const T *from, int stride, int columns) {
    return (((uint)(ulong)from | (uint)stride * T_bytes | (uint)columns * T_bytes) & 15u) == 0;
}
#define UNIT_AT(u, i) T_load((const T *)(u).v, i)

KERNEL_ENTRY {
    LOCAL_ARRAY(float, parts, WARPS * ROWS * MAX_D);
    LOCAL_ARRAY(float, tops, WARPS * ROWS);
    LOCAL_ARRAY(float, sums, WARPS * ROWS);
    const int tid = local_id(0), lane = tid % LANES, team = tid / LANES, warp = tid / 32;
    const int group = H / HK;                           /* query heads of a key head */
    const int blocks = (group * S + ROWS - 1) / ROWS;   /* of a key head */
    const int row0 = group_id(0) % blocks * ROWS, rows = min(group * S - row0, ROWS);
    const int head = group_id(0) / blocks % HK;
    const int b = group_id(0) / blocks / HK;
    const T *kp = k + k_off + b * k_b + head * k_h;
    const T *vp = v + v_off + b * v_b + head * v_h;
    const bool k_wide = decode_wide(kp, k_t, D), v_wide = decode_wide(vp, v_t, DV);

    float query[ROWS][SHARE * UNIT], out[ROWS][SHARE * UNIT], top[ROWS], sum[ROWS];
    int seen[ROWS], t_end = 0;
    UNROLL for (int r = 0; r < ROWS; r++) {
        const int h = head * group + (row0 + r) / S, s = (row0 + r) % S;
        const T *qp = q + q_off + b * q_b + h * q_h + s * q_s;
        const bool wide = decode_wide(qp, 0, D);
        seen[r] = r >= rows ? 0 : (causal ? min(T_len, s + causal_offset + 1) : T_len);
        t_end = max(t_end, seen[r]);
        top[r] = -A_INF;
        sum[r] = 0.0f;
        UNROLL for (int n = 0; n < SHARE; n++) {
            const DecodeUnit u = decode_load(qp, (n * LANES + lane) * UNIT, D, wide, r < rows);
            UNROLL for (int i = 0; i < UNIT; i++) {
                query[r][n * UNIT + i] = UNIT_AT(u, i) * scale;
                out[r][n * UNIT + i] = 0.0f;
            }
        }
    }

    for (int t0 = team; t0 - team < t_end; t0 += TEAMS * AT_ONCE) {
        DecodeUnit keys[AT_ONCE][SHARE], values[AT_ONCE][SHARE];
        UNROLL for (int a = 0; a < AT_ONCE; a++)
            UNROLL for (int n = 0; n < SHARE; n++)
                keys[a][n] = decode_load(
                    kp + (long)(t0 + a * TEAMS) * k_t, (n * LANES + lane) * UNIT, D, k_wide, t0 + a * TEAMS < t_end);
        UNROLL for (int a = 0; a < AT_ONCE; a++)
            UNROLL for (int n = 0; n < SHARE; n++)
                values[a][n] = decode_load(
                    vp + (long)(t0 + a * TEAMS) * v_t, (n * LANES + lane) * UNIT, DV, v_wide, t0 + a * TEAMS < t_end);
        UNROLL for (int r = 0; r < ROWS; r++) {
            float score[AT_ONCE], high = top[r];
            UNROLL for (int a = 0; a < AT_ONCE; a++) {
                float x = 0.0f;
                UNROLL for (int n = 0; n < SHARE; n++)
                    UNROLL for (int i = 0; i < UNIT; i++) x += query[r][n * UNIT + i] * UNIT_AT(keys[a][n], i);
                UNROLL for (int step = LANES / 2; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
                const int t = t0 + a * TEAMS;
                score[a] = -A_INF;
                if (t < seen[r]) {
                    const int h = head * group + (row0 + r) / S, s = (row0 + r) % S;
                    score[a] = SCORE(x, b, h, s, t);
                }
                high = fmax(high, score[a]); /* not a NaN: it shows in the sum */
            }
            const float base = high == -A_INF ? 0.0f : high; /* nothing seen yet: all weights 0 */
            const float alpha = a_exp(top[r] - base);
            top[r] = high;
            sum[r] *= alpha;
            UNROLL for (int c = 0; c < SHARE * UNIT; c++) out[r][c] *= alpha;
            UNROLL for (int a = 0; a < AT_ONCE; a++) {
                const float p = a_exp(score[a] - base);
                sum[r] += p;
                UNROLL for (int n = 0; n < SHARE; n++)
                    UNROLL for (int i = 0; i < UNIT; i++) out[r][n * UNIT + i] += p * UNIT_AT(values[a][n], i);
            }
        }
    }

    UNROLL for (int r = 0; r < ROWS; r++) {
        float high = top[r];
        UNROLL for (int step = LANES; step < 32; step *= 2) high = fmax(high, __shfl_xor_sync(0xffffffffu, high, step));
        const float weight = a_exp(top[r] - (high == -A_INF ? 0.0f : high));
        float total = sum[r] * weight;
        UNROLL for (int step = LANES; step < 32; step *= 2) total += __shfl_xor_sync(0xffffffffu, total, step);
        UNROLL for (int c = 0; c < SHARE * UNIT; c++) {
            float x = out[r][c] * weight;
            UNROLL for (int step = LANES; step < 32; step *= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
            if (tid % 32 < LANES)
                parts[(warp * ROWS + r) * MAX_D + (c / UNIT * LANES + lane) * UNIT + c % UNIT] = x;
        }
        if (tid % 32 == 0) {
            tops[warp * ROWS + r] = high;
            sums[warp * ROWS + r] = total;
        }
    }
    local_barrier();
    for (int e = tid; e < rows * DV; e += THREADS) {
        const int r = e / DV, c = e % DV;
        float high = -A_INF;
        for (int w = 0; w < WARPS; w++) high = fmax(high, tops[w * ROWS + r]);
        const float base = high == -A_INF ? 0.0f : high;
        float x = 0.0f, total = 0.0f;
        for (int w = 0; w < WARPS; w++) {
            const float weight = a_exp(tops[w * ROWS + r] - base);
            x += weight * parts[(w * ROWS + r) * MAX_D + c];
            total += weight * sums[w * ROWS + r];
        }
        const int h = head * group + (row0 + r) / S, s = (row0 + r) % S;
        T_store(o, o_off + b * o_b + h * o_h + s * o_s + c, total == 0.0f ? 0.0f : x / total);
    }
}
