#define GATES 3
#include "recurrent.clh"
RECURRENT_SUMS(recurrent_sums_reset, float, load_f32)

/* `state` holds z and r * h of each row while linear_before_reset is 0: the candidate needs all units' r * h first, so
 * that a step is two tasks. */
KERNEL_ENTRY {
    const int blocks = (H + UNITS - 1) / UNITS, chains = D * ((B + ROWS - 1) / ROWS);
    const int split = !linear_before_reset && phase == 2;
    walk_t walk;
    walk_begin(&walk, chains, blocks);
    while (walk_next(&walk, chains, blocks, (step_end - step_begin) << split, sync)) {
        const int step = step_begin + (walk.task >> split), half_step = split ? walk.task & 1 : phase;
        place_t at;
        recurrent_place(&at, walk.chain, step, B, T_len, reverse, has_h0, has_lens, lens);
        const int y_at = y_off + at.d * y_d, hn_at = hn_off + at.d * hn_d, inputs = at.begun ? H : 0;
        GPTR(const T) h[ROWS];
        GPTR(const float) reset[ROWS];
        for (int i = 0; i < ROWS; i++) {
            const int row = at.b0 + min(i, at.rows - 1);
            h[i] = h0 + h0_off + at.d * h0_d + row * h0_b;
            if (step > 0) h[i] = y + y_at + place_before(&at, i) * y_t + row * y_b;
            reset[i] = state + ((at.d * B + row) * 2 + 1) * H;
        }
        for (int i = walk.first; i < walk.last; i++) {
            const int block = walk_block(&walk, i, step);
            GPTR(const T) weights = r + (at.d * blocks + block) * H * GATES * UNITS;
            const int unit = block * UNITS;
            const int live = min(UNITS, H - unit);
            float16 sum[ROWS][GATES];
            if (linear_before_reset) recurrent_sums(weights, h, at.rows, inputs, 0, GATES, sum);
            else if (half_step == 0) recurrent_sums(weights, h, at.rows, inputs, 0, 2, sum);
            else recurrent_sums_reset(weights, reset, at.rows, inputs, 2, GATES, sum);
            for (int i = 0; i < at.rows; i++) {
                const int row = at.b0 + i, time = at.time[i];
                const int in_at = xw_off + at.d * xw_d + time * xw_t + row * xw_b + unit;
                GPTR(float) gates = state + (at.d * B + row) * 2 * H + unit;
                const float16 before = at.begun ? units_load(h[i], unit, live) : (float16)(0.0f);
                if (time < 0) {
                    if (!linear_before_reset && half_step == 0) continue;
                    if (step == 0) units_store(hn, hn_at + row * hn_b + unit, before, live);
                    units_store(y, y_at + step * y_t + row * y_b + unit, 0.0f, live);
                    continue;
                }
                float16 update, back, fresh = sum[i][2];
                if (linear_before_reset || half_step == 0) {
                    update = sum[i][0] + units_load(xw, in_at, live);
                    update = recurrent_activation(update, act_f, alpha_f, beta_f, clip);
                    back = sum[i][1] + units_load(xw, in_at + H, live);
                    back = recurrent_activation(back, act_f, alpha_f, beta_f, clip);
                    if (!linear_before_reset) {
                        state_store(gates, update, live);
                        state_store(gates + H, before * back, live);
                        continue;
                    }
                    fresh = (fresh + units_load(rbh, at.d * H + unit, live)) * back;
                } else {
                    update = state_load(gates, live);
                }
                fresh = recurrent_activation(fresh + units_load(xw, in_at + 2 * H, live), act_g, alpha_g, beta_g, clip);
                const float16 out = (1.0f - update) * fresh + update * before;
                units_store(y, y_at + time * y_t + row * y_b + unit, out, live);
                if (at.end[i]) units_store(hn, hn_at + row * hn_b + unit, out, live);
            }
        }
    }
}
