#define GATES 1
#include "recurrent.clh"

KERNEL_ENTRY {
    const int b0 = ROWS * group_id(ONE_STEP ? 1 : 0);
    const int rows = min(ROWS, B - b0);
    const int blocks = (H + UNITS - 1) / UNITS;
    const int first = ONE_STEP ? group_id(0) * BLOCKS : 0;
    const int last = ONE_STEP ? min(blocks, first + BLOCKS) : blocks;
    for (int step = step_begin; step < step_end; step++) {
        GPTR(const T) h[ROWS];
        int time[ROWS]; /* of the row's step; -1 beyond its length */
        for (int i = 0; i < ROWS; i++) {
            const int row = b0 + min(i, rows - 1);
            const int length = has_lens ? lens[row] : T_len;
            time[i] = step >= length ? -1 : (reverse ? length - 1 - step : step);
            h[i] = h0 + h0_off + row * h0_b;
            if (step > 0) h[i] = y + y_off + (time[i] < 0 ? 0 : (reverse ? time[i] + 1 : time[i] - 1)) * y_t + row * y_b;
        }
        const int begun = step > 0 || has_h0;
        for (int block = first; block < last; block++) {
            const int unit = block * UNITS;
            const int live = min(UNITS, H - unit);
            float16 sum[ROWS][GATES];
            recurrent_sums(r + block * H * GATES * UNITS, h, rows, begun ? H : 0, 0, GATES, sum);
            for (int i = 0; i < rows; i++) {
                const int row = b0 + i;
                const int end = time[i] == (reverse ? 0 : (has_lens ? lens[row] : T_len) - 1);
                if (time[i] < 0) {
                    if (step == 0)
                        units_store(hn, hn_off + row * hn_b + unit, has_h0 ? units_load(h[i], unit, live) : 0.0f, live);
                    units_store(y, y_off + step * y_t + row * y_b + unit, 0.0f, live);
                    continue;
                }
                float16 out = sum[i][0] + units_load(xw, xw_off + time[i] * xw_t + row * xw_b + unit, live);
                out = recurrent_activation(out, act_f, alpha_f, beta_f, clip);
                units_store(y, y_off + time[i] * y_t + row * y_b + unit, out, live);
                if (end) units_store(hn, hn_off + row * hn_b + unit, out, live);
            }
        }
    }
}
