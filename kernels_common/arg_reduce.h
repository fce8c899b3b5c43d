/* y[o, i] = the r of the extreme x[o, r, i]: a team of LANES work-items along r per output, TEAMS outputs per group.
 * ARG_BEATS(a, b) is true where a is more extreme than b, a NaN more than any number, ARG_REACHES(a, b) where it is at
 * least as extreme; equals go by index. */
KERNEL_ENTRY {
    LOCAL_ARRAY(T_r, team_value, LANES * TEAMS);
    LOCAL_ARRAY(int, team_at, LANES * TEAMS);
    const int lid = local_id(0), mine = lid % TEAMS, lane = lid / TEAMS;
    const int unit = group_id(0) * TEAMS + mine, live = unit < O * I;
    const int o = live ? unit / I : 0, i = live ? unit % I : 0, from = x_off + o * x_o + i * x_i;
    int at = lane < R ? lane : 0; /* a lane with nothing of its own repeats the first */
    T_r best = T_load(x, from + at * x_r);
    for (int r = lane + LANES; r < R; r += LANES) {
        const T_r v = T_load(x, from + r * x_r);
        const int take = select_last ? ARG_REACHES(v, best) : ARG_BEATS(v, best);
        best = take ? v : best;
        at = take ? r : at;
    }
    team_value[lid] = best;
    team_at[lid] = at;
    local_barrier();
    for (int h = LANES / 2; h > 0; h /= 2) {
        if (lane < h) {
            const T_r v = team_value[lid + h * TEAMS], b = team_value[lid];
            const int v_at = team_at[lid + h * TEAMS], b_at = team_at[lid];
            const int earlier = select_last ? v_at > b_at : v_at < b_at;
            if (ARG_BEATS(v, b) || (!ARG_BEATS(b, v) && earlier)) {
                team_value[lid] = v;
                team_at[lid] = v_at;
            }
        }
        local_barrier();
    }
    if (live && lane == 0) y[unit] = (long)team_at[lid];
}
