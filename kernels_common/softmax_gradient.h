/* Gradient of softmax or log-softmax by a team of work-items for each row: one sum, then every element. */
#include "common/team.h"

KERNEL_ENTRY {
    LOCAL_ARRAY(T_r, team, LANES * TEAMS);
    const int lid = local_id(0), mine = lid / LANES, lane = lid % LANES, neighbour = 1, first = mine * LANES;
    const int unit = group_id(0) * TEAMS + mine, row = unit < rows ? unit : 0, end = unit < rows ? n : 0;
    const int at = y_off + row * y_row, from = g_off + row * g_row;
    T_r sum = 0;
    for (int c = lane; c < end; c += LANES) sum += TERM(T_load(y, at + c), T_load(g, from + c));
    TEAM_REDUCE(sum, TEAM_JOIN_SUM)
    for (int c = lane; c < end; c += LANES) {
        const T_r v = T_load(y, at + c), w = T_load(g, from + c);
        OUT_store(dx, row * n + c, EPILOGUE(RESULT(v, w, sum), row, c));
    }
}
