/* y[o, r, i] = softmax over r of x[o, r, i]; SOFTMAX_ROWS: i is not there and r lies contiguous.
 *
 * Neighbouring work-items are along r for rows, along i otherwise.  NaN need not be found by the maximum: it
 * reaches every element through the sum. */
#include "common/team.h"

KERNEL_ENTRY {
    LOCAL_ARRAY(T_r, team, LANES * TEAMS);
    const int lid = local_id(0);
#ifdef SOFTMAX_ROWS
    const int mine = lid / LANES, lane = lid % LANES, neighbour = 1, first = mine * LANES;
#else
    const int mine = lid % TEAMS, lane = lid / TEAMS, neighbour = TEAMS, first = mine;
#endif
    const int unit = group_id(0) * TEAMS + mine;
    const int o = unit / I, i = unit % I, end = unit < O * I ? R : 0;
    const int from = end ? x_off + o * x_o + i * x_i : 0, to = o * R * I + i;
    T_r top = -A_INF, sum = 0;
    for (int r = lane; r < end; r += LANES) {
        const T_r v = SOFTMAX_PROLOGUE(T_load(x, from + r * x_r), o, r, i);
        top = TEAM_JOIN_MAX(top, v);
    }
    TEAM_REDUCE(top, TEAM_JOIN_MAX)
    for (int r = lane; r < end; r += LANES) sum += a_exp(SOFTMAX_PROLOGUE(T_load(x, from + r * x_r), o, r, i) - top);
    TEAM_REDUCE(sum, TEAM_JOIN_SUM)
    const T_r scale = SOFTMAX_SCALE(sum);
    for (int r = lane; r < end; r += LANES) {
        const T_r v = SOFTMAX_PROLOGUE(T_load(x, from + r * x_r), o, r, i) - top;
        OUT_store(y, to + r * I, SOFTMAX_EPILOGUE(SOFTMAX_RESULT(v, a_exp(v), scale), o, r, i));
    }
}
