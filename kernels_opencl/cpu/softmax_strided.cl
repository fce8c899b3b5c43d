/* Softmax over r of x[o, r, i], i contiguous: vectors along i.  A unit is 64 columns of one o; the last vector of
 * a ragged unit is moved back to end at I, and its lanes that were stored before are not stored again. *
 * Fewer than 16 columns, or columns apart, are done in scalars. */
#include "exp_below.clh"

#define KEPT 256 /* longest r whose values are held between the sweeps */

KERNEL_ENTRY {
    T_rv kept[KEPT];
    const int held = R <= KEPT;
    const int columns = (I + 63) / 64, units = O * columns;
    const int share = (units + group_count(0) - 1) / group_count(0);
    const int from = group_id(0) * share, to = min(units, from + share);
    for (int unit = from; unit < to; unit++) {
        const int o = unit / columns, i0 = unit % columns * 64;
        if (I < 16 || x_i != 1) {
            for (int i = i0; i < min(I, i0 + 64); i++) {
                GPTR(const T) p = x + x_off + o * x_o + i * x_i;
                T_r top = -A_INF, sum = 0;
                for (int r = 0; r < R; r++) {
                    const T_r v = PROLOGUE(T_load(p, r * x_r), o, r, i);
                    top = v > top ? v : top;
                }
                for (int r = 0; r < R; r++) sum += a_exp(PROLOGUE(T_load(p, r * x_r), o, r, i) - top);
                const T_r scale = SOFTMAX_SCALE(sum);
                for (int r = 0; r < R; r++) {
                    const T_r v = PROLOGUE(T_load(p, r * x_r), o, r, i) - top;
                    OUT_store(y, (o * R + r) * I + i, EPILOGUE(SOFTMAX_RESULT(v, a_exp(v), scale), o, r, i));
                }
            }
            continue;
        }
        for (int done = i0; done < min(I, i0 + 64); done += 16) {
            const int i = min(done, I - 16);
            GPTR(const T) p = x + x_off + o * x_o + i;
            GPTR(OUT) q = y + o * R * I + i;
            T_rv top = (T_rv)(-A_INF), sum = (T_rv)(0);
            for (int r = 0; r < R; r++) {
                const T_rv v = PROLOGUE_V(T_load_v(p, r * x_r), o, r, i);
                if (held) kept[r] = v;
                top = v > top ? v : top;
            }
            for (int r = 0; r < R; r++) {
                const T_rv v = (held ? kept[r] : PROLOGUE_V(T_load_v(p, r * x_r), o, r, i)) - top, e = exp_below(v);
                if (held) kept[r] = SOFTMAX_KEEP(v, e);
                sum += e;
            }
            const T_rv scale = SOFTMAX_SCALE(sum);
            for (int r = 0; r < R; r++) {
                T_rv result;
                if (held) {
                    result = SOFTMAX_RESULT(kept[r], kept[r], scale);
                } else {
                    const T_rv v = PROLOGUE_V(T_load_v(p, r * x_r), o, r, i) - top;
                    result = SOFTMAX_RESULT(v, exp_below(v), scale);
                }
                if (i == done) {
                    OUT_store_v(q, r * I, EPILOGUE_V(result, o, r, i));
                } else {
                    T_r lanes[16];
                    vstore16(result, 0, lanes);
                    for (int l = done - i; l < 16; l++) OUT_store(q, r * I + l, EPILOGUE(lanes[l], o, r, i + l));
                }
            }
        }
    }
}
