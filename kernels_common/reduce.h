/* y[o, s, i] = the reduction of x[o, r, i] over part s of r.
 *
 * A team of LANES work-items shares one output, a group has OUTS teams.  Rows (REDUCE_ROWS) put neighbouring
 * work-items along r, columns along i, whichever lies contiguous.  REDUCE_* come from the spec; logsumexp takes two
 * passes, first the maximum, then the sum of exponentials relative to it. */
#define BLOCK 128 /* values that one accumulator takes before it is added to the total: sums of sums stay accurate */

KERNEL_ENTRY {
#if LANES > 1
    LOCAL_ARRAY(ACC_r, team, OUTS * LANES);
#endif
    const int lid = local_id(0);
#ifdef REDUCE_ROWS
    const int out = lid / LANES, lane = lid % LANES, neighbour = 1, first = out * LANES;
#else
    const int out = lid % OUTS, lane = lid / OUTS, neighbour = OUTS, first = out;
#endif
    const int unit = group_id(0) * OUTS + out;
    const int live = unit < O0 * O1 * S * I;
    const int i = unit % I, s = unit / I % S, o = live ? unit / I / S : 0;
    const int begin = s * chunk, end = live ? min(begin + chunk, R0 * R1) : begin;
    const int base = x_off + o / O1 * x_o0 + o % O1 * x_o1 + i * x_i;
    ACC_r shift = 0, total = 0;
    for (int pass = 0; pass < REDUCE_PASSES; pass++) {
        total = REDUCE_INIT;
        for (int r = begin + lane; r < end;) {
            ACC_r block = REDUCE_INIT;
            for (const int stop = min(end, r + BLOCK * LANES); r < stop; r += LANES) {
                const int r0 = R0 == 1 ? 0 : r / R1;
                const ACC_r v = REDUCE_PROLOGUE(T_load(x, base + r0 * x_r0 + (r - r0 * R1) * x_r1), o, r, i);
                block = REDUCE_STEP(block, v);
            }
            total = REDUCE_JOIN(total, block);
        }
#if LANES > 1
        team[lid] = total;
        local_barrier();
        for (int half_team = LANES / 2; half_team > 0; half_team /= 2) {
            if (lane < half_team) team[lid] = REDUCE_JOIN(team[lid], team[lid + half_team * neighbour]);
            local_barrier();
        }
        total = team[first];
        local_barrier();
#endif
        if (pass + 1 < REDUCE_PASSES) shift = REDUCE_SHIFT(total, ACC_r);
    }
    if (live && lane == 0) OUT_store(y, unit, REDUCE_EPILOGUE(REDUCE_FINISH(total), o, i));
}
