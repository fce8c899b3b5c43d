/* Gradient of layer and RMS normalisation: a group takes a part of up to ROWS rows.
 *
 * First teams of LANES work-items find the statistics of a row each, TEAMS rows at a time; then each work-item walks down
 * columns of its own, so that neighbours read and write neighbouring elements and each column's sum has one owner. */
#include "common/team.h"
#define ROWS 64

KERNEL_ENTRY {
    LOCAL_ARRAY(T_r, team, LANES * TEAMS);
    LOCAL_ARRAY(T_r, stats, 4 * ROWS);
    const int lid = local_id(0), mine = lid / LANES, lane = lid % LANES, neighbour = 1, first = mine * LANES;
    const int start = group_id(0) * chunk, stop = min(rows, start + chunk);
    for (int row0 = start; row0 < stop; row0 += TEAMS) {
        const int row = min(row0 + mine, stop - 1), end = row0 + mine < stop ? n : 0;
        T_r mean = 0, square = 0, sum = 0, dot = 0;
#if NORM_CENTER
        for (int c = lane; c < end; c += LANES) mean += T_load(x, x_off + row * x_row + c);
        TEAM_REDUCE(mean, TEAM_JOIN_SUM)
        mean /= (T_r)n;
#endif
        for (int c = lane; c < end; c += LANES) {
            const T_r d = T_load(x, x_off + row * x_row + c) - mean;
            const T_r h = WEIGHT(T_load(g, g_off + row * g_row + c), row, c);
            square += d * d;
            dot += d * h;
#if NORM_CENTER
            sum += h;
#endif
        }
        TEAM_REDUCE(square, TEAM_JOIN_SUM)
        TEAM_REDUCE(dot, TEAM_JOIN_SUM)
#if NORM_CENTER
        TEAM_REDUCE(sum, TEAM_JOIN_SUM)
#endif
        if (lane == 0 && end > 0) {
            const T_r r = 1 / sqrt(square / (T_r)n + (T_r)eps);
            const int at = 4 * (row - start);
            stats[at] = mean;
            stats[at + 1] = r;
            stats[at + 2] = sum / (T_r)n;
            stats[at + 3] = dot / (T_r)n * r * r;
        }
    }
    local_barrier();
    for (int c = lid; c < n; c += LANES * TEAMS) {
        T_r a = 0, b = 0;
        for (int row = start; row < stop; row++) {
            const int at = 4 * (row - start);
            const T_r v = T_load(g, g_off + row * g_row + c), h = WEIGHT(v, row, c), r = stats[at + 1];
            const T_r d = T_load(x, x_off + row * x_row + c) - stats[at];
            a += v * (d * r);
            b += v;
            OUT_store(dx, row * n + c, EPILOGUE((h - stats[at + 2] - d * stats[at + 3]) * r, row, c));
        }
        ACC_store(part, group_id(0) * 2 * n + c, a);
        ACC_store(part, (group_id(0) * 2 + 1) * n + c, b);
    }
}
