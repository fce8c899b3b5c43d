#include "common/ctc_join.h"

/* CTC backwards, a work-group for each row.  y[t] first holds beta[t], the logarithm of what the paths from each position
 * at time t on gather, and, once y[t - 1] has been made from it, the gradient.  Every path stands somewhere at each time,
 * so the shares of a time's positions add up to 1: they are divided by what they do add up to, which takes out the error
 * that logarithms gather over many times.  The frame defines all_barrier() for local and global memory. */
KERNEL_ENTRY {
    const int row = group_id(0), tid = local_id(0), first = row * T_len * L;
    const int steps = CTC_STEPS, used = CTC_USED;
    const T_r all = T_load(loss, row);
    LOCAL_ARRAY(T_r, team, GROUP);
    for (int t = T_len - 1; t >= -1; t--) {
        for (int l = tid; t >= 0 && l < L; l += GROUP) {
            const int at = first + t * L + l;
            T_r found = -A_INF;
            if (t < steps && l < used) {
                if (t == steps - 1) {
                    found = l >= used - 2 ? (T_r)0 : (T_r)-A_INF;
                } else {
                    const int next = at + L;
                    const T_r one = l + 1 < used ? T_load(y, next + 1) : (T_r)-A_INF;
                    const T_r two = l + 2 < used && jumps[row * L + l + 2] ? T_load(y, next + 2) : (T_r)-A_INF;
                    found = ctc_join(T_load(y, next), one, two);
                }
                found += T_load(scores, at);
            }
            T_store(y, at, found);
        }
        all_barrier();
        T_r sum = 0;
        for (int l = tid; t + 1 < T_len && l < L; l += GROUP) {
            const int at = first + (t + 1) * L + l;
            const T_r a = T_load(alpha, at), b = T_load(y, at);
            T_r share = 0; /* of all paths, those that stand here; none where there are none at all */
            if (t + 1 < steps && l < used && a != -A_INF && b != -A_INF && all != A_INF)
                share = a_exp(a - T_load(scores, at) + b + all);
            sum += share;
            T_store(y, at, share);
        }
        team[tid] = sum;
        local_barrier();
        for (int h = GROUP / 2; h > 0; h /= 2) {
            if (tid < h) team[tid] += team[tid + h];
            local_barrier();
        }
        sum = team[0] > 0 ? team[0] : (T_r)1; /* not where nothing passes, or what is no number */
        for (int l = tid; t + 1 < T_len && l < L; l += GROUP) {
            const int at = first + (t + 1) * L + l;
            T_store(y, at, -T_load(y, at) / sum);
        }
    }
}
