/* A team of LANES work-items shares one row; a group has TEAMS of them.  `team` is a local array of LANES * TEAMS. */
#define TEAM_JOIN_MAX(a, b) ((b) > (a) ? (b) : (a))
#define TEAM_JOIN_SUM(a, b) ((a) + (b))

/* value = the combination of the team's values, the same for all of them */
#define TEAM_REDUCE(value, JOIN)                                                                              \
    team[lid] = value;                                                                                        \
    local_barrier();                                                                                          \
    for (int h = LANES / 2; h > 0; h /= 2) {                                                                  \
        if (lane < h) team[lid] = JOIN(team[lid], team[lid + h * neighbour]);                                 \
        local_barrier();                                                                                      \
    }                                                                                                         \
    value = team[first];                                                                                      \
    local_barrier();
