/* y[o, s] = the reduction of contiguous runs of x[o, r] over part s of r, vectors along r.
 *
 * A work-item takes a range of outputs.  Runs are cut into pieces of at most PIECE values, each reduced in four
 * vectors: enough independent chains to hide the latency of an addition, and sums of sums stay accurate. */
#define PIECE 4096

KERNEL_ENTRY {
    const int units = O0 * O1 * S, share = (units + group_count(0) - 1) / group_count(0);
    const int from = group_id(0) * share, to = min(units, from + share);
    for (int unit = from; unit < to; unit++) {
        const int s = unit % S, o = unit / S;
        const int begin = s * chunk, end = min(begin + chunk, R0 * R1);
        const int base = x_off + o / O1 * x_o0 + o % O1 * x_o1;
        ACC_r shift = 0, result = 0;
        for (int pass = 0; pass < REDUCE_PASSES; pass++) {
            ACC_rv total = (ACC_rv)(REDUCE_INIT);
            ACC_r rest = REDUCE_INIT;
            for (int r = begin; r < end;) {
                const int r0 = R0 == 1 ? 0 : r / R1;
                GPTR(const T) p = x + base + r0 * (x_r0 - R1);
                const int stop = min(min(end, (r0 + 1) * R1), r + PIECE);
                ACC_rv a0 = (ACC_rv)(REDUCE_INIT), a1 = a0, a2 = a0, a3 = a0;
                for (; r + 64 <= stop; r += 64) {
                    const ACC_rv v0 = PROLOGUE_V(T_load_v(p, r), o, r);
                    const ACC_rv v1 = PROLOGUE_V(T_load_v(p, r + 16), o, r + 16);
                    const ACC_rv v2 = PROLOGUE_V(T_load_v(p, r + 32), o, r + 32);
                    const ACC_rv v3 = PROLOGUE_V(T_load_v(p, r + 48), o, r + 48);
                    a0 = REDUCE_STEP(a0, v0);
                    a1 = REDUCE_STEP(a1, v1);
                    a2 = REDUCE_STEP(a2, v2);
                    a3 = REDUCE_STEP(a3, v3);
                }
                for (; r + 16 <= stop; r += 16) {
                    const ACC_rv v = PROLOGUE_V(T_load_v(p, r), o, r);
                    a0 = REDUCE_STEP(a0, v);
                }
                for (; r < stop; r++) {
                    const ACC_r v = PROLOGUE(T_load(p, r), o, r);
                    rest = REDUCE_STEP(rest, v);
                }
                a0 = REDUCE_JOIN(a0, a1);
                a2 = REDUCE_JOIN(a2, a3);
                a0 = REDUCE_JOIN(a0, a2);
                total = REDUCE_JOIN(total, a0);
            }
            ACC_r lanes[16];
            vstore16(total, 0, lanes);
            for (int h = 8; h > 0; h /= 2)
                for (int l = 0; l < h; l++) lanes[l] = REDUCE_JOIN(lanes[l], lanes[l + h]);
            result = REDUCE_JOIN(lanes[0], rest);
            if (pass + 1 < REDUCE_PASSES) shift = REDUCE_SHIFT(result, ACC_r);
        }
        OUT_store(y, unit, EPILOGUE(REDUCE_FINISH(result), o));
    }
}
