/* y[o, s] = the reduction of contiguous runs of x[o, r] over part s of r, vectors along r.
 *
 * A work-item takes a range of outputs and counts coordinates up instead of dividing.  Runs are cut into pieces of at
 * most PIECE values, each reduced in four vectors: enough independent chains to hide the latency of an addition, and
 * sums of sums stay accurate.  The ragged end of a piece is its last 16 values, those already taken masked out.
 * Maxima and minima look for NaN apart, two vectors at a time. */
#define PIECE 4096

#define TAKE(a, d) a = REDUCE_QUICK_STEP(a, v##d)
#define LOAD(d) const ACC_rv v##d = PROLOGUE_V(T_load_v(p, r + 16 * d), o, r + 16 * d)
#if REDUCE_NANS
#define LOOK(v, w) nans |= ((v) != (v)) | ((w) != (w))
#else
#define LOOK(v, w)
#endif

KERNEL_ENTRY {
    const int units = O0 * O1 * S, share = (units + group_count(0) - 1) / group_count(0);
    const int from = group_id(0) * share, to = min(units, from + share);
    const int16 lane = (int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    int s = from % S, o = from / S, o1 = o % O1, row = x_off + o / O1 * x_o0 + o1 * x_o1;
    for (int unit = from; unit < to; unit++) {
        const int begin = s * chunk, end = min(begin + chunk, R0 * R1);
        ACC_r shift = 0, result = 0;
        for (int pass = 0; pass < REDUCE_PASSES; pass++) {
            ACC_rv total = (ACC_rv)(REDUCE_INIT);
            ACC_r rest = REDUCE_INIT;
            int16 nans = (int16)(0);
            for (int r = begin; r < end;) {
                const int r0 = R0 == 1 ? 0 : r / R1, start = r;
                GPTR(const T) p = x + row + r0 * (x_r0 - R1);
                const int stop = min(min(end, (r0 + 1) * R1), r + PIECE);
                ACC_rv a0 = (ACC_rv)(REDUCE_INIT), a1 = a0, a2 = a0, a3 = a0;
                for (; r + 64 <= stop; r += 64) {
                    LOAD(0);
                    LOAD(1);
                    LOAD(2);
                    LOAD(3);
                    TAKE(a0, 0);
                    TAKE(a1, 1);
                    TAKE(a2, 2);
                    TAKE(a3, 3);
                    LOOK(v0, v1);
                    LOOK(v2, v3);
                }
                for (; r + 16 <= stop; r += 16) {
                    LOAD(0);
                    TAKE(a0, 0);
                    LOOK(v0, v0);
                }
                if (r < stop && stop - start >= 16) {
                    const ACC_rv v = PROLOGUE_V(T_load_v(p, stop - 16), o, stop - 16);
                    a1 = lane >= r - stop + 16 ? REDUCE_QUICK_STEP(a1, v) : a1;
                    LOOK(v, v);
                    r = stop;
                }
                for (; r < stop; r++) {
                    const ACC_r v = PROLOGUE(T_load(p, r), o, r);
                    rest = REDUCE_STEP(rest, v);
                }
                a0 = REDUCE_QUICK_JOIN(a0, a1);
                a2 = REDUCE_QUICK_JOIN(a2, a3);
                a0 = REDUCE_QUICK_JOIN(a0, a2);
                total = REDUCE_QUICK_JOIN(total, a0);
            }
            total.lo = REDUCE_QUICK_JOIN(total.lo, total.hi);
            total.lo.lo = REDUCE_QUICK_JOIN(total.lo.lo, total.lo.hi);
            total.s01 = REDUCE_QUICK_JOIN(total.s01, total.s23);
            result = REDUCE_QUICK_JOIN(total.s0, total.s1);
#if REDUCE_NANS
            if (any(nans)) result = (ACC_r)A_NAN; /* integers are never here */
#endif
            result = REDUCE_JOIN(result, rest);
            if (pass + 1 < REDUCE_PASSES) shift = REDUCE_SHIFT(result, ACC_r);
        }
        OUT_store(y, unit, EPILOGUE(REDUCE_FINISH(result), o));
        if (++s == S) {
            s = 0;
            o++;
            row += x_o1;
            if (++o1 == O1) {
                o1 = 0;
                row += x_o0 - O1 * x_o1;
            }
        }
    }
}
