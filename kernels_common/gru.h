#define GATES 3
#include "common/recurrent_steps.h"
RECURRENT_SUMS(recurrent_sums_reset, ACC, ACC_load)

/* `state` holds z and r * h of a row while linear_before_reset is 0: the candidate needs all units' r * h first. */
KERNEL_ENTRY {
    RECURRENT_PLACE
    GPTR(ACC) gates = state + (d * B + row) * 2 * H;
    for (int step = step_begin; step < step_end; step++) {
        const int time = back ? length - 1 - step : step;
        const int live = step < length;
        GPTR(const T) h = h0 + h0_at + row * h0_b;
        if (step > 0 && live) h = y + y_at + (back ? time + 1 : time - 1) * y_t + row * y_b;
        const int begun = step > 0 || has_h0;
        const int inputs = (live && begun) ? H : 0;
        if (!linear_before_reset && phase != 1) {
            for (int block = first; block < last; block++) {
                GPTR(const T) weights = r + (d * blocks + block) * H * GATES * UNITS;
                const int unit = block * UNITS + lane;
                T_r sum[GATES];
                recurrent_sums(weights, h, inputs, 0, 2, slice, lane, partial, sum);
                if (slice > 0 || unit >= H || !live) continue;
                const int at = xw_at + time * xw_t + row * xw_b + unit;
                const T_r before = begun ? T_load(h, unit) : 0;
                gates[unit] = recurrent_activation(sum[0] + T_load(xw, at), act_f, alpha_f, beta_f, clip);
                gates[H + unit] =
                    before * recurrent_activation(sum[1] + T_load(xw, at + H), act_f, alpha_f, beta_f, clip);
            }
            if (phase == 0) continue;
            all_barrier();
        }
        for (int block = first; block < last; block++) {
            GPTR(const T) weights = r + (d * blocks + block) * H * GATES * UNITS;
            const int unit = block * UNITS + lane;
            T_r sum[GATES];
            if (linear_before_reset)
                recurrent_sums(weights, h, inputs, 0, GATES, slice, lane, partial, sum);
            else
                recurrent_sums_reset(weights, gates + H, inputs, 2, GATES, slice, lane, partial, sum);
            if (slice > 0 || unit >= H) continue;
            const T_r before = begun ? T_load(h, unit) : 0;
            if (!live) {
                if (step == 0) T_store(hn, hn_at + row * hn_b + unit, before);
                T_store(y, y_at + step * y_t + row * y_b + unit, 0.0f);
                continue;
            }
            const int at = xw_at + time * xw_t + row * xw_b + unit;
            T_r update, fresh = sum[2];
            if (linear_before_reset) {
                update = recurrent_activation(sum[0] + T_load(xw, at), act_f, alpha_f, beta_f, clip);
                fresh = (fresh + T_load(rbh, d * H + unit))
                        * recurrent_activation(sum[1] + T_load(xw, at + H), act_f, alpha_f, beta_f, clip);
            } else {
                update = gates[unit];
            }
            fresh = recurrent_activation(fresh + T_load(xw, at + 2 * H), act_g, alpha_g, beta_g, clip);
            const T_r out = (1.0f - update) * fresh + update * before;
            T_store(y, y_at + time * y_t + row * y_b + unit, out);
            if (step == length - 1) T_store(hn, hn_at + row * hn_b + unit, out);
        }
        if (!ONE_STEP) all_barrier();
    }
}
