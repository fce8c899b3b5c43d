#include "common/team.h"

/* part[n, s, 0|1, c] = mean, and sum of squared distances from it, of chunk s of image n in channel c.
 * A group has CHANNELS neighbouring channels; LANES work-items share a channel's pixels. */
KERNEL_ENTRY {
    LOCAL_ARRAY(T_r, team, LANES * CHANNELS);
    const int lid = local_id(0), lane = lid / CHANNELS, neighbour = CHANNELS, first = lid % CHANNELS;
    const int across = (C + CHANNELS - 1) / CHANNELS, part_of = group_id(0) / across;
    const int c = group_id(0) % across * CHANNELS + first, s = part_of % S, n = part_of / S;
    const int start = s * chunk, stop = min(P, start + chunk), end = c < C ? stop : start;
    const int from = x_off + n * P * x_ld + c;
    T_r mean = 0, square = 0;
    for (int p = start + lane; p < end; p += LANES) mean += PROLOGUE(T_load(x, from + p * x_ld), n, p, c);
    TEAM_REDUCE(mean, TEAM_JOIN_SUM)
    mean /= (T_r)(stop - start);
    for (int p = start + lane; p < end; p += LANES) {
        const T_r d = PROLOGUE(T_load(x, from + p * x_ld), n, p, c) - mean;
        square += d * d;
    }
    TEAM_REDUCE(square, TEAM_JOIN_SUM)
    if (c < C && lane == 0) {
        const int to = (n * S + s) * 2 * C + c;
        part[to] = mean;
        part[to + C] = square;
    }
}
