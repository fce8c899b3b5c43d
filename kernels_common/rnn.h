#define GATES 1
#include "common/recurrent_steps.h"

KERNEL_ENTRY {
    RECURRENT_PLACE
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
            if (step >= length) {
                if (step == 0) T_store(hn, hn_at + row * hn_b + unit, has_h0 ? T_load(h, unit) : 0);
                T_store(y, y_at + step * y_t + row * y_b + unit, 0.0f);
                continue;
            }
            sum[0] += T_load(xw, xw_at + time * xw_t + row * xw_b + unit);
            const T_r out = recurrent_activation(sum[0], act_f, alpha_f, beta_f, clip);
            T_store(y, y_at + time * y_t + row * y_b + unit, out);
            if (step == length - 1) T_store(hn, hn_at + row * hn_b + unit, out);
        }
        if (!ONE_STEP) all_barrier();
    }
}
