/* y[o, s, i] = the reduction of x[o, r, i] over part s of r, any strides, in scalars: short rows, few columns and
 * 64-bit types.  A work-item takes a range of outputs and counts its coordinates up instead of dividing. */
#define BLOCK 128 /* values that one accumulator takes before it is added to the total: sums of sums stay accurate */

KERNEL_ENTRY {
    const int units = O0 * O1 * S * I, share = (units + group_count(0) - 1) / group_count(0);
    const int from = group_id(0) * share, to = min(units, from + share);
    int i = from % I, s = from / I % S, o1 = from / I / S % O1, o0 = from / I / S / O1;
    for (int unit = from; unit < to; unit++) {
        const int o = o0 * O1 + o1, begin = s * chunk, end = min(begin + chunk, R0 * R1);
        const int base = x_off + o0 * x_o0 + o1 * x_o1 + i * x_i;
        ACC_r shift = 0, total = 0;
        for (int pass = 0; pass < REDUCE_PASSES; pass++) {
            total = REDUCE_INIT;
            for (int r = begin; r < end;) {
                const int r0 = R0 == 1 ? 0 : r / R1;
                const int stop = min(min(end, (r0 + 1) * R1), r + BLOCK);
                ACC_r block = REDUCE_INIT;
                for (int at = base + r0 * x_r0 + (r - r0 * R1) * x_r1; r < stop; r++, at += x_r1) {
                    const ACC_r v = REDUCE_PROLOGUE(T_load(x, at), o, r, i);
                    block = REDUCE_STEP(block, v);
                }
                total = REDUCE_JOIN(total, block);
            }
            if (pass + 1 < REDUCE_PASSES) shift = REDUCE_SHIFT(total, ACC_r);
        }
        OUT_store(y, unit, REDUCE_EPILOGUE(REDUCE_FINISH(total), o, i));
        if (++i == I) {
            i = 0;
            if (++s == S) {
                s = 0;
                if (++o1 == O1) {
                    o1 = 0;
                    o0++;
                }
            }
        }
    }
}
