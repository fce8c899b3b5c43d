#define GATES 3
#include "recurrent.clh"
RECURRENT_SUMS(recurrent_sums_reset, float, load_f32)

/* `state` holds z and r * h of each row while linear_before_reset is 0: the candidate needs all units' r * h first. */
KERNEL_ENTRY {
    const int b0 = ROWS * group_id(ONE_STEP ? 1 : 0);
    const int rows = min(ROWS, B - b0);
    const int blocks = (H + UNITS - 1) / UNITS;
    const int first = ONE_STEP ? group_id(0) * BLOCKS : 0;
    const int last = ONE_STEP ? min(blocks, first + BLOCKS) : blocks;
    for (int step = step_begin; step < step_end; step++) {
        GPTR(const T) h[ROWS];
        GPTR(const float) reset[ROWS];
        int time[ROWS]; /* of the row's step; -1 beyond its length */
        for (int i = 0; i < ROWS; i++) {
            const int row = b0 + min(i, rows - 1);
            const int length = has_lens ? lens[row] : T_len;
            time[i] = step >= length ? -1 : (reverse ? length - 1 - step : step);
            h[i] = h0 + h0_off + row * h0_b;
            if (step > 0) h[i] = y + y_off + (time[i] < 0 ? 0 : (reverse ? time[i] + 1 : time[i] - 1)) * y_t + row * y_b;
            reset[i] = state + (row * 2 + 1) * H;
        }
        const int begun = step > 0 || has_h0;
        if (!linear_before_reset && phase != 1) {
            for (int block = first; block < last; block++) {
                const int unit = block * UNITS;
                const int live = min(UNITS, H - unit);
                float16 sum[ROWS][GATES];
                recurrent_sums(r + block * H * GATES * UNITS, h, rows, begun ? H : 0, 0, 2, sum);
                for (int i = 0; i < rows; i++) {
                    const int row = b0 + i;
                    if (time[i] < 0) continue;
                    const int at = xw_off + time[i] * xw_t + row * xw_b + unit;
                    const float16 before = begun ? units_load(h[i], unit, live) : (float16)(0.0f);
                    const float16 update = sum[i][0] + units_load(xw, at, live);
                    const float16 back = sum[i][1] + units_load(xw, at + H, live);
                    state_store(state + row * 2 * H + unit, recurrent_activation(update, act_f, alpha_f, beta_f, clip), live);
                    state_store(state + (row * 2 + 1) * H + unit,
                                before * recurrent_activation(back, act_f, alpha_f, beta_f, clip), live);
                }
            }
            if (phase == 0) continue;
        }
        for (int block = first; block < last; block++) {
            const int unit = block * UNITS;
            const int live = min(UNITS, H - unit);
            float16 sum[ROWS][GATES];
            if (linear_before_reset) recurrent_sums(r + block * H * GATES * UNITS, h, rows, begun ? H : 0, 0, GATES, sum);
            else recurrent_sums_reset(r + block * H * GATES * UNITS, reset, rows, begun ? H : 0, 2, GATES, sum);
            for (int i = 0; i < rows; i++) {
                const int row = b0 + i;
                const int end = time[i] == (reverse ? 0 : (has_lens ? lens[row] : T_len) - 1);
                const float16 before = begun ? units_load(h[i], unit, live) : (float16)(0.0f);
                if (time[i] < 0) {
                    if (step == 0) units_store(hn, hn_off + row * hn_b + unit, before, live);
                    units_store(y, y_off + step * y_t + row * y_b + unit, 0.0f, live);
                    continue;
                }
                const int at = xw_off + time[i] * xw_t + row * xw_b + unit;
                float16 update, fresh = sum[i][2];
                if (linear_before_reset) {
                    update = recurrent_activation(sum[i][0] + units_load(xw, at, live), act_f, alpha_f, beta_f, clip);
                    const float16 back = sum[i][1] + units_load(xw, at + H, live);
                    fresh = (fresh + units_load(rbh, unit, live)) * recurrent_activation(back, act_f, alpha_f, beta_f, clip);
                } else {
                    update = state_load(state + row * 2 * H + unit, live);
                }
                fresh = recurrent_activation(fresh + units_load(xw, at + 2 * H, live), act_g, alpha_g, beta_g, clip);
                const float16 out = (1.0f - update) * fresh + update * before;
                units_store(y, y_off + time[i] * y_t + row * y_b + unit, out, live);
                if (end) units_store(hn, hn_off + row * hn_b + unit, out, live);
            }
        }
    }
}
