#define GATES 4
#include "common/recurrent_steps.h"

KERNEL_ENTRY {
    RECURRENT_PLACE
    const int c0_at = c0_off + d * c0_d, cn_at = cn_off + d * cn_d;
    for (int step = step_begin; step < step_end; step++) {
        const int time = back ? length - 1 - step : step;
        GPTR(const T) h = h0 + h0_at + row * h0_b;
        if (step > 0 && step < length) h = y + y_at + (back ? time + 1 : time - 1) * y_t + row * y_b;
        const int inputs = (step < length && (step > 0 || has_h0)) ? H : 0;
        for (int block = first; block < last; block++) {
            GPTR(const T) weights = r + (d * blocks + block) * H * GATES * UNITS;
            const int unit = block * UNITS + lane;
            T_r sum[GATES];
            recurrent_sums(weights, h, inputs, 0, GATES, slice, lane, partial, sum);
            if (slice > 0 || unit >= H) continue;
            T_r c = state[(d * B + row) * H + unit];
            if (step == 0) c = has_c0 ? T_load(c0, c0_at + row * c0_b + unit) : 0;
            if (step >= length) {
                if (step == 0) {
                    state[(d * B + row) * H + unit] = c;
                    T_store(cn, cn_at + row * cn_b + unit, c);
                    T_store(hn, hn_at + row * hn_b + unit, has_h0 ? T_load(h, unit) : 0);
                }
                T_store(y, y_at + step * y_t + row * y_b + unit, 0.0f);
                continue;
            }
            const int at = xw_at + time * xw_t + row * xw_b + unit;
            for (int g = 0; g < GATES; g++) sum[g] += T_load(xw, at + g * H);
            if (has_peep) {
                sum[0] += T_load(peep, d * 3 * H + unit) * c;
                sum[2] += T_load(peep, (d * 3 + 2) * H + unit) * c;
            }
            const T_r in = recurrent_activation(sum[0], act_f, alpha_f, beta_f, clip);
            const T_r forget = input_forget ? 1.0f - in : recurrent_activation(sum[2], act_f, alpha_f, beta_f, clip);
            c = forget * c + in * recurrent_activation(sum[3], act_g, alpha_g, beta_g, clip);
            if (has_peep) sum[1] += T_load(peep, (d * 3 + 1) * H + unit) * c;
            const T_r out = recurrent_activation(sum[1], act_f, alpha_f, beta_f, clip)
                              * recurrent_activation(c, act_h, alpha_h, beta_h, 0.0f);
            state[(d * B + row) * H + unit] = c;
            T_store(y, y_at + time * y_t + row * y_b + unit, out);
            if (step == length - 1) {
                T_store(hn, hn_at + row * hn_b + unit, out);
                T_store(cn, cn_at + row * cn_b + unit, c);
            }
        }
        if (!ONE_STEP) all_barrier();
    }
}
