/* Softmax cross-entropy of rows by a team of work-items each: the largest value, then everything that is summed. */
#include "common/team.h"

KERNEL_ENTRY {
    LOCAL_ARRAY(T_r, team, LANES * TEAMS);
    const int lid = local_id(0), mine = lid / LANES, lane = lid % LANES, neighbour = 1, first = mine * LANES;
    const int unit = group_id(0) * TEAMS + mine, row = unit < rows ? unit : 0, end = unit < rows ? n : 0;
    const int from = x_off + row * x_row;
    T_r top = -A_INF, sum = 0;
    for (int c = lane; c < end; c += LANES) {
        const T_r v = T_load(x, from + c);
        top = TEAM_JOIN_MAX(top, v);
    }
    TEAM_REDUCE(top, TEAM_JOIN_MAX)
    const T_r base = top == -A_INF ? 0 : top;
#ifdef CROSS_DENSE
    T_r taken = 0, dot = 0;
#endif
    for (int c = lane; c < end; c += LANES) {
        const T_r v = T_load(x, from + c) - base;
        sum += a_exp(v);
#ifdef CROSS_DENSE
        const T_r t = T_load(target, t_off + row * t_row + c);
        taken += t;
        dot += t == 0 ? 0 : t * v;
#endif
    }
    TEAM_REDUCE(sum, TEAM_JOIN_SUM)
#ifdef CROSS_DENSE
    TEAM_REDUCE(taken, TEAM_JOIN_SUM)
    TEAM_REDUCE(dot, TEAM_JOIN_SUM)
#endif
    if (lane == 0 && unit < rows) {
        const T_r rest = a_log(sum);
        ACC_store(lse, row, rest + base);
#ifdef CROSS_DENSE
        ACC_store(loss, row, taken * rest - dot);
        ACC_store(weight, row, taken);
#else
        const long label = (long)target[row];
        T_r found = (T_r)A_NAN;
        if (label >= 0 && label < n) found = rest - (T_load(x, from + (int)label) - base);
        ACC_store(loss, row, label == ignored ? (T_r)0 : found);
        ACC_store(weight, row, label == ignored ? (T_r)0 : (T_r)1);
#endif
    }
}
