/* Rows of x normalised by a team of work-items each: mean, then the mean square of what is left, then the result.
 * NORM_CENTER: subtract the mean (layer normalisation), NORM_SUM: write the prologue's value too, NORM_STATS:
 * write mean and inverse deviation. */
#include "common/team.h"

KERNEL_ENTRY {
    LOCAL_ARRAY(T_r, team, LANES * TEAMS);
    const int lid = local_id(0), mine = lid / LANES, lane = lid % LANES, neighbour = 1, first = mine * LANES;
    const int unit = group_id(0) * TEAMS + mine, row = unit < rows ? unit : 0, end = unit < rows ? n : 0;
    const int from = x_off + row * x_row;
    T_r mean = 0, square = 0;
#if NORM_CENTER
    for (int c = lane; c < end; c += LANES) mean += PROLOGUE(T_load(x, from + c), row, c);
    TEAM_REDUCE(mean, TEAM_JOIN_SUM)
    mean /= (T_r)n;
#endif
    for (int c = lane; c < end; c += LANES) {
        const T_r v = PROLOGUE(T_load(x, from + c), row, c);
#ifdef NORM_SUM
        T_store(sum, row * n + c, v);
#endif
        square += (v - mean) * (v - mean);
    }
    TEAM_REDUCE(square, TEAM_JOIN_SUM)
    const T_r scale = 1 / sqrt(square / (T_r)n + (T_r)eps);
    for (int c = lane; c < end; c += LANES) {
        const T_r v = (PROLOGUE(T_load(x, from + c), row, c) - mean) * scale;
        OUT_store(y, row * n + c, EPILOGUE(v, row, c));
    }
#ifdef NORM_STATS
    if (lane == 0 && unit < rows) {
        mean_out[row] = (float)mean;
        inv_std[row] = (float)scale;
    }
#endif
}
