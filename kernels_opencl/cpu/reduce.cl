/* y[o, s, i] = the reduction of x[o, r, i] over part s of r, i contiguous: vectors along i.
 *
 * A unit is 64 columns of one (o, s), four vectors wide; the last, narrower unit takes single vectors, the very last of
 * them moved back to end at I (its first lanes, computed twice, are not stored again).  Every BLOCK values the
 * accumulators are added to totals: sums of sums stay accurate.  Where rows are long, each lies in a page of its own, and
 * hardware foresees nothing: lines are asked for AHEAD rows before they are needed. */
#define BLOCK 128
#define AHEAD 6
#define FETCH(d)                                                                                              \
    fetch_near(p + AHEAD * x_r1 + 16 * d);                                                                    \
    PROLOGUE_AHEAD(fetch_near, o, r + AHEAD, i0 + 16 * d)

KERNEL_ENTRY {
    const int columns = (I + 63) / 64, units = O0 * O1 * S * columns;
    const int share = (units + group_count(0) - 1) / group_count(0);
    const int from = group_id(0) * share, to = min(units, from + share);
    for (int unit = from; unit < to; unit++) {
        const int os = unit / columns, s = os % S, o = os / S, i0 = unit % columns * 64;
        const int begin = s * chunk, end = min(begin + chunk, R0 * R1);
        const int base = x_off + o / O1 * x_o0 + o % O1 * x_o1;
        if (i0 + 64 <= I) {
            ACC_rv s0 = (ACC_rv)(0), s1 = s0, s2 = s0, s3 = s0, t0 = s0, t1 = s0, t2 = s0, t3 = s0;
            for (int pass = 0; pass < REDUCE_PASSES; pass++) {
                t0 = t1 = t2 = t3 = (ACC_rv)(REDUCE_INIT);
                for (int r = begin; r < end;) {
                    const int r0 = R0 == 1 ? 0 : r / R1;
                    const int stop = min(min(end, (r0 + 1) * R1), r + BLOCK);
                    GPTR(const T) p = x + base + r0 * x_r0 + (r - r0 * R1) * x_r1 + i0;
                    ACC_rv a0 = (ACC_rv)(REDUCE_INIT), a1 = a0, a2 = a0, a3 = a0;
                    for (; r < stop; r++, p += x_r1) {
                        FETCH(0) FETCH(1) FETCH(2) FETCH(3)
                        const ACC_rv v0 = PROLOGUE_V(T_load_v(p, 0), o, r, i0);
                        const ACC_rv v1 = PROLOGUE_V(T_load_v(p, 16), o, r, i0 + 16);
                        const ACC_rv v2 = PROLOGUE_V(T_load_v(p, 32), o, r, i0 + 32);
                        const ACC_rv v3 = PROLOGUE_V(T_load_v(p, 48), o, r, i0 + 48);
                        ACC_rv shift = s0;
                        a0 = REDUCE_STEP(a0, v0);
                        shift = s1;
                        a1 = REDUCE_STEP(a1, v1);
                        shift = s2;
                        a2 = REDUCE_STEP(a2, v2);
                        shift = s3;
                        a3 = REDUCE_STEP(a3, v3);
                    }
                    t0 = REDUCE_JOIN(t0, a0);
                    t1 = REDUCE_JOIN(t1, a1);
                    t2 = REDUCE_JOIN(t2, a2);
                    t3 = REDUCE_JOIN(t3, a3);
                }
                if (pass + 1 < REDUCE_PASSES) {
                    s0 = REDUCE_SHIFT(t0, ACC_rv);
                    s1 = REDUCE_SHIFT(t1, ACC_rv);
                    s2 = REDUCE_SHIFT(t2, ACC_rv);
                    s3 = REDUCE_SHIFT(t3, ACC_rv);
                }
            }
            GPTR(OUT) q = y + os * I + i0;
            ACC_rv shift = s0;
            OUT_store_v(q, 0, EPILOGUE_V(REDUCE_FINISH(t0), o, i0));
            shift = s1;
            OUT_store_v(q, 16, EPILOGUE_V(REDUCE_FINISH(t1), o, i0 + 16));
            shift = s2;
            OUT_store_v(q, 32, EPILOGUE_V(REDUCE_FINISH(t2), o, i0 + 32));
            shift = s3;
            OUT_store_v(q, 48, EPILOGUE_V(REDUCE_FINISH(t3), o, i0 + 48));
            continue;
        }
        for (int done = i0; done < I; done += 16) {
            const int i = min(done, I - 16);
            ACC_rv shift = (ACC_rv)(0), total = shift;
            for (int pass = 0; pass < REDUCE_PASSES; pass++) {
                total = (ACC_rv)(REDUCE_INIT);
                for (int r = begin; r < end;) {
                    const int r0 = R0 == 1 ? 0 : r / R1;
                    const int stop = min(min(end, (r0 + 1) * R1), r + BLOCK);
                    GPTR(const T) p = x + base + r0 * x_r0 + (r - r0 * R1) * x_r1 + i;
                    ACC_rv a = (ACC_rv)(REDUCE_INIT);
                    for (; r < stop; r++, p += x_r1) {
                        const ACC_rv v = PROLOGUE_V(T_load_v(p, 0), o, r, i);
                        a = REDUCE_STEP(a, v);
                    }
                    total = REDUCE_JOIN(total, a);
                }
                if (pass + 1 < REDUCE_PASSES) shift = REDUCE_SHIFT(total, ACC_rv);
            }
            total = REDUCE_FINISH(total);
            if (i == done) {
                OUT_store_v(y, os * I + i, EPILOGUE_V(total, o, i));
            } else {
                ACC_r lanes[16];
                vstore16(total, 0, lanes);
                for (int l = done - i; l < 16; l++) OUT_store(y, os * I + i + l, EPILOGUE(lanes[l], o, i + l));
            }
        }
    }
}
