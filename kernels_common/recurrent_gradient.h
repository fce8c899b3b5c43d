#include "common/recurrent_activation.h"
#include "common/recurrent_back.h"
RECURRENT_ACTIVATION(T_r)
RECURRENT_SLOPE(T_r)

/* A work-group walks one row of the batch in one direction; thread i owns the units i, i + GROUP ...: their states, and
 * the sums over all gates that reach them.  What gates send back passes through dpre.  The frame defines all_barrier()
 * for local and global memory. */
#define READ(p, i) ((p)[i])
#define WRITE(p, i, v) ((p)[i] = (v))

/* over the units k of r's `gate`: dpre[k] * r[k][unit] */
FN T_r recurrent_sum(GPTR(T) dpre, GPTR(const T) r, int H, int unit) {
    T_r sum = 0.0f;
    for (int k = 0; k < H; k++) sum += T_load(dpre, k) * T_load(r, k * H + unit);
    return sum;
}

KERNEL_ENTRY {
    const int row = group_id(0), d = group_id(1), tid = local_id(0), back = reverse >> d & 1;
    const int length = has_lens ? (lens[row] < T_len ? lens[row] : T_len) : T_len;
    const int state_at = (d * B + row) * 2 * H, first = (d * B + row) * H;
    const int gates = kind == 1 ? 3 : STEP_GATES;
    GPTR(const T) weights = r + d * gates * H * H;
    for (int time = length; time < T_len; time++) {
        for (int i = tid; i < PARTS * H; i += GROUP) T_store(dpre, STEP_ROW(time) * PARTS * H + i, 0.0f);
        if (kind == 0)
            for (int i = tid; i < H; i += GROUP) T_store(c, STEP_ROW(time) * H + i, 0.0f);
    }
    for (int unit = tid; unit < H; unit += GROUP) {
        state[state_at + unit] = has_dhn ? T_load(dhn, first + unit) : 0;
        state[state_at + H + unit] = has_dcn ? T_load(dcn, first + unit) : 0;
        for (int step = 0; kind == 0 && step < length; step++) {
            const int at = STEP_ROW(STEP_TIME(step)) * H, pre_at = at * PARTS;
            const int before_at = step > 0 ? STEP_ROW(STEP_TIME(step - 1)) * H : -1;
            RECURRENT_CELL(T_r, T_load, T_store)
        }
    }
    for (int step = length - 1; step >= 0; step--) {
        const int at = STEP_ROW(STEP_TIME(step)) * H, pre_at = at * PARTS;
        const int before_at = step > 0 ? STEP_ROW(STEP_TIME(step - 1)) * H : -1;
        for (int unit = tid; unit < H; unit += GROUP) RECURRENT_BACK(T_r, T_load, T_store, READ, WRITE)
        all_barrier();
        if (kind == 1 && !linear) {
            for (int unit = tid; unit < H; unit += GROUP) {
                const T_r sum = recurrent_sum(dpre + pre_at + 2 * H, weights + 2 * H * H, H, unit);
                RECURRENT_RESET(T_r, T_load, T_store, READ, WRITE, sum)
            }
            all_barrier();
        }
        for (int unit = tid; unit < H; unit += GROUP) {
            T_r sum = 0.0f;
            for (int gate = 0; gate < STEP_GATES; gate++)
                sum += recurrent_sum(dpre + pre_at + PART_OF(gate) * H, weights + gate * H * H, H, unit);
            state[state_at + unit] += sum;
        }
        all_barrier();
    }
    for (int unit = tid; unit < H; unit += GROUP) {
        T_store(dh0, first + unit, state[state_at + unit]);
        if (kind == 0) T_store(dc0, first + unit, state[state_at + H + unit]);
    }
}
