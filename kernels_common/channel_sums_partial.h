#include "common/team.h"

/* part[n, s, 0|1, c] = sum of g, and of g (x - mean), over chunk s of image n in channel c.
 * A group has CHANNELS neighbouring channels; LANES work-items share a channel's pixels. */
KERNEL_ENTRY {
    LOCAL_ARRAY(T_r, team, LANES * CHANNELS);
    const int lid = local_id(0), lane = lid / CHANNELS, neighbour = CHANNELS, first = lid % CHANNELS;
    const int across = (C + CHANNELS - 1) / CHANNELS, part_of = group_id(0) / across;
    const int c = group_id(0) % across * CHANNELS + first, s = part_of % S, n = part_of / S;
    const int start = s * chunk, stop = min(P, start + chunk), end = c < C ? stop : start;
    const T_r middle = c < C ? mean[n * C + c] : 0;
    T_r sum = 0, dot = 0;
    for (int p = start + lane; p < end; p += LANES) {
        const T_r v = T_load(g, g_off + (n * P + p) * g_ld + c);
        sum += v;
        dot += v * (T_load(x, x_off + (n * P + p) * x_ld + c) - middle);
    }
    TEAM_REDUCE(sum, TEAM_JOIN_SUM)
    TEAM_REDUCE(dot, TEAM_JOIN_SUM)
    if (c < C && lane == 0) {
        const int to = (n * S + s) * 2 * C + c;
        part[to] = sum;
        part[to + C] = dot;
    }
}
