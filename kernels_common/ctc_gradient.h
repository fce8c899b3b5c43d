#include "common/ctc_join.h"

/* CTC backwards, a work-group for each row.  y[t] first holds beta[t], the logarithm of what the paths from each position
 * at time t on gather, and, once y[t - 1] has been made from it, the gradient.  The frame defines all_barrier() for local
 * and global memory. */
KERNEL_ENTRY {
    const int row = group_id(0), tid = local_id(0), first = row * T_len * L;
    const int steps = CTC_STEPS, used = CTC_USED;
    const T_r all = T_load(loss, row);
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
        for (int l = tid; t + 1 < T_len && l < L; l += GROUP) {
            const int at = first + (t + 1) * L + l;
            const T_r a = T_load(alpha, at), b = T_load(y, at);
            T_r share = 0; /* of all paths, those that stand here; none where there are none at all */
            if (t + 1 < steps && l < used && a != -A_INF && b != -A_INF && all != A_INF)
                share = a_exp(a - T_load(scores, at) + b + all);
            T_store(y, at, -share);
        }
    }
}
