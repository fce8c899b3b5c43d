#define GATES 4
#include "recurrent.clh"

KERNEL_ENTRY {
    const int blocks = (H + UNITS - 1) / UNITS, chains = D * ((B + ROWS - 1) / ROWS);
    walk_t walk;
    walk_begin(&walk, chains, blocks);
    while (walk_next(&walk, chains, blocks, step_end - step_begin, sync)) {
        const int step = step_begin + walk.task;
        place_t at;
        recurrent_place(&at, walk.chain, step, B, T_len, reverse, has_h0, has_lens, lens);
        const int y_at = y_off + at.d * y_d, hn_at = hn_off + at.d * hn_d, cn_at = cn_off + at.d * cn_d;
        GPTR(const T) p = peep + at.d * 3 * H;
        GPTR(const T) h[ROWS];
        for (int i = 0; i < ROWS; i++) {
            const int row = at.b0 + min(i, at.rows - 1);
            h[i] = h0 + h0_off + at.d * h0_d + row * h0_b;
            if (step > 0) h[i] = y + y_at + place_before(&at, i) * y_t + row * y_b;
        }
        for (int i = walk.first; i < walk.last; i++) {
            const int block = walk_block(&walk, i, step);
            GPTR(const T) weights = r + (at.d * blocks + block) * H * GATES * UNITS;
            const int unit = block * UNITS;
            const int live = min(UNITS, H - unit);
            float16 sum[ROWS][GATES];
            recurrent_sums(weights, h, at.rows, at.begun ? H : 0, 0, GATES, sum);
            for (int i = 0; i < at.rows; i++) {
                const int row = at.b0 + i, time = at.time[i];
                GPTR(float) cell = state + (at.d * B + row) * H + unit;
                float16 c = 0.0f;
                if (step > 0) c = state_load(cell, live);
                else if (has_c0) c = units_load(c0, c0_off + at.d * c0_d + row * c0_b + unit, live);
                if (time < 0) {
                    if (step == 0) {
                        state_store(cell, c, live);
                        units_store(cn, cn_at + row * cn_b + unit, c, live);
                        units_store(hn, hn_at + row * hn_b + unit, has_h0 ? units_load(h[i], unit, live) : 0.0f, live);
                    }
                    units_store(y, y_at + step * y_t + row * y_b + unit, 0.0f, live);
                    continue;
                }
                const int in_at = xw_off + at.d * xw_d + time * xw_t + row * xw_b + unit;
                float16 in = sum[i][0] + units_load(xw, in_at, live);
                float16 out = sum[i][1] + units_load(xw, in_at + H, live);
                float16 forget = sum[i][2] + units_load(xw, in_at + 2 * H, live);
                float16 fresh = sum[i][3] + units_load(xw, in_at + 3 * H, live);
                if (has_peep) {
                    in += units_load(p, unit, live) * c;
                    forget += units_load(p, 2 * H + unit, live) * c;
                }
                in = recurrent_activation(in, act_f, alpha_f, beta_f, clip);
                forget = input_forget ? 1.0f - in : recurrent_activation(forget, act_f, alpha_f, beta_f, clip);
                c = forget * c + in * recurrent_activation(fresh, act_g, alpha_g, beta_g, clip);
                if (has_peep) out += units_load(p, H + unit, live) * c;
                out = recurrent_activation(out, act_f, alpha_f, beta_f, clip)
                      * recurrent_activation(c, act_h, alpha_h, beta_h, 0.0f);
                state_store(cell, c, live);
                units_store(y, y_at + time * y_t + row * y_b + unit, out, live);
                if (at.end[i]) {
                    units_store(hn, hn_at + row * hn_b + unit, out, live);
                    units_store(cn, cn_at + row * cn_b + unit, c, live);
                }
            }
        }
    }
}
