#define GATES 1
#include "common/recurrent_steps.h"

KERNEL_ENTRY {
    LOCAL_ARRAY(float, partial, SLICES * GATES * UNITS);
    const int lane = local_id(0) % UNITS;
    const int slice = local_id(0) / UNITS;
    const int blocks = (H + UNITS - 1) / UNITS;
    const int row = ONE_STEP ? group_id(0) / blocks : group_id(0);
    const int first = ONE_STEP ? group_id(0) % blocks : 0;
    const int last = ONE_STEP ? first + 1 : blocks;
    const int d = group_id(1), back = reverse >> d & 1;
    const int xw_at = xw_off + d * xw_d, h0_at = h0_off + d * h0_d, y_at = y_off + d * y_d, hn_at = hn_off + d * hn_d;
    const int length = has_lens ? min(T_len, lens[row]) : T_len;
    for (int step = step_begin; step < step_end; step++) {
        const int time = back ? length - 1 - step : step;
        GPTR(const T) h = h0 + h0_at + row * h0_b;
        if (step > 0 && step < length) h = y + y_at + (back ? time + 1 : time - 1) * y_t + row * y_b;
        const int inputs = (step < length && (step > 0 || has_h0)) ? H : 0;
        for (int block = first; block < last; block++) {
            GPTR(const T) weights = r + (d * blocks + block) * H * GATES * UNITS;
            const int unit = block * UNITS + lane;
            float sum[GATES];
            recurrent_sums(weights, h, inputs, 0, GATES, slice, lane, partial, sum);
            if (slice > 0 || unit >= H) continue;
            if (step >= length) {
                if (step == 0) T_store(hn, hn_at + row * hn_b + unit, has_h0 ? T_load(h, unit) : 0.0f);
                T_store(y, y_at + step * y_t + row * y_b + unit, 0.0f);
                continue;
            }
            sum[0] += T_load(xw, xw_at + time * xw_t + row * xw_b + unit);
            const float out = recurrent_activation(sum[0], act_f, alpha_f, beta_f, clip);
            T_store(y, y_at + time * y_t + row * y_b + unit, out);
            if (step == length - 1) T_store(hn, hn_at + row * hn_b + unit, out);
        }
        if (!ONE_STEP) all_barrier();
    }
}
