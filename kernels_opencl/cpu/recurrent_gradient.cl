#include "common/recurrent_activation.h"
#include "common/recurrent_back.h"
RECURRENT_ACTIVATION(float)
RECURRENT_ACTIVATION(float16)
RECURRENT_SLOPE(float)
RECURRENT_SLOPE(float16)

/* A work-item walks up to ROWS rows of the batch in one direction: gates 16 units at a time, and the recurrent weights,
 * whose rows lie along the units they reach, once for all of its rows. */
#define READ(p, i) ((p)[i])
#define WRITE(p, i, v) ((p)[i] = (v))
#define READ_V(p, i) vload16(0, (p) + (i))
#define WRITE_V(p, i, v) vstore16(v, 0, (p) + (i))

/* sums[i]: over k of dpre[at[i] + k] * r[k][unit], for 16 units; rows beyond the last repeat another */
FN void recurrent_sums(GPTR(T) dpre, const int *at, GPTR(const T) r, int H, int unit, float16 *sums) {
    float16 sum[ROWS];
    for (int i = 0; i < ROWS; i++) sum[i] = sums[i];
    for (int k = 0; k < H; k++) {
        const float16 w = T_load_v(r, k * H + unit);
        UNROLL for (int i = 0; i < ROWS; i++) sum[i] = fma((float16)(T_load(dpre, at[i] + k)), w, sum[i]);
    }
    for (int i = 0; i < ROWS; i++) sums[i] = sum[i];
}

FN float recurrent_sum(GPTR(T) dpre, int at, GPTR(const T) r, int H, int unit) {
    float sum = 0.0f;
    for (int k = 0; k < H; k++) sum += T_load(dpre, at + k) * T_load(r, k * H + unit);
    return sum;
}

KERNEL_ENTRY {
    const int row0 = group_id(0) * ROWS, d = group_id(1), rows = min(ROWS, B - row0), back = reverse >> d & 1;
    const int size = PARTS * H, gates = kind == 1 ? 3 : STEP_GATES;
    GPTR(const T) weights = r + d * gates * H * H;
    int lengths[ROWS], longest = 0;
    for (int i = 0; i < rows; i++) {
        const int row = row0 + i, state_at = (d * B + row) * 2 * H, first = (d * B + row) * H;
        const int length = lengths[i] = has_lens ? min(lens[row], T_len) : T_len;
        longest = max(longest, length);
        for (int time = length; time < T_len; time++) {
            for (int j = 0; j < size; j++) T_store(dpre, STEP_ROW(time) * size + j, 0.0f);
            for (int j = 0; kind == 0 && j < H; j++) T_store(c, STEP_ROW(time) * H + j, 0.0f);
        }
        for (int unit = 0; unit < H; unit++) {
            state[state_at + unit] = has_dhn ? T_load(dhn, first + unit) : 0.0f;
            state[state_at + H + unit] = has_dcn ? T_load(dcn, first + unit) : 0.0f;
        }
        for (int step = 0; kind == 0 && step < length; step++) {
            const int at = STEP_ROW(STEP_TIME(step)) * H, pre_at = at * PARTS;
            const int before_at = step > 0 ? STEP_ROW(STEP_TIME(step - 1)) * H : -1;
            int unit = 0;
            for (; unit + 16 <= H; unit += 16) RECURRENT_CELL(float16, T_load_v, T_store_v)
            for (; unit < H; unit++) RECURRENT_CELL(float, T_load, T_store)
        }
    }
    for (int step = longest - 1; step >= 0; step--) {
        int active = 0, row_at[ROWS], rows_of[ROWS];
        for (int i = 0; i < rows; i++) {
            const int length = lengths[i], row = row0 + i, state_at = (d * B + row) * 2 * H;
            if (step >= length) continue;
            const int at = STEP_ROW(STEP_TIME(step)) * H, pre_at = at * PARTS;
            const int before_at = step > 0 ? STEP_ROW(STEP_TIME(step - 1)) * H : -1;
            int unit = 0;
            for (; unit + 16 <= H; unit += 16) RECURRENT_BACK(float16, T_load_v, T_store_v, READ_V, WRITE_V)
            for (; unit < H; unit++) RECURRENT_BACK(float, T_load, T_store, READ, WRITE)
            row_at[active] = STEP_ROW(STEP_TIME(step));
            rows_of[active++] = row;
        }
        for (int i = active; i < ROWS; i++) {
            row_at[i] = row_at[0];
            rows_of[i] = rows_of[0];
        }
        int from[ROWS];
        if (kind == 1 && !linear) {
            for (int i = 0; i < ROWS; i++) from[i] = row_at[i] * size + 2 * H;
            int unit = 0;
            for (; unit + 16 <= H; unit += 16) {
                float16 sums[ROWS];
                for (int i = 0; i < ROWS; i++) sums[i] = 0.0f;
                recurrent_sums(dpre, from, weights + 2 * H * H, H, unit, sums);
                for (int i = 0; i < active; i++) {
                    const int at = row_at[i] * H, pre_at = row_at[i] * size, state_at = (d * B + rows_of[i]) * 2 * H;
                    RECURRENT_RESET(float16, T_load_v, T_store_v, READ_V, WRITE_V, sums[i])
                }
            }
            for (; unit < H; unit++) {
                for (int i = 0; i < active; i++) {
                    const int at = row_at[i] * H, pre_at = row_at[i] * size, state_at = (d * B + rows_of[i]) * 2 * H;
                    const float sum = recurrent_sum(dpre, from[i], weights + 2 * H * H, H, unit);
                    RECURRENT_RESET(float, T_load, T_store, READ, WRITE, sum)
                }
            }
        }
        int unit = 0;
        for (; unit + 16 <= H; unit += 16) {
            float16 sums[ROWS];
            for (int i = 0; i < ROWS; i++) sums[i] = 0.0f;
            for (int gate = 0; gate < STEP_GATES; gate++) {
                for (int i = 0; i < ROWS; i++) from[i] = row_at[i] * size + PART_OF(gate) * H;
                recurrent_sums(dpre, from, weights + gate * H * H, H, unit, sums);
            }
            for (int i = 0; i < active; i++) {
                const int at = (d * B + rows_of[i]) * 2 * H + unit;
                WRITE_V(state, at, READ_V(state, at) + sums[i]);
            }
        }
        for (; unit < H; unit++)
            for (int gate = 0; gate < STEP_GATES; gate++)
                for (int i = 0; i < active; i++)
                    state[(d * B + rows_of[i]) * 2 * H + unit] +=
                        recurrent_sum(dpre, row_at[i] * size + PART_OF(gate) * H, weights + gate * H * H, H, unit);
    }
    for (int i = 0; i < rows; i++) {
        const int state_at = (d * B + row0 + i) * 2 * H, first = (d * B + row0 + i) * H;
        for (int unit = 0; unit < H; unit++) {
            T_store(dh0, first + unit, state[state_at + unit]);
            if (kind == 0) T_store(dc0, first + unit, state[state_at + H + unit]);
        }
    }
}
