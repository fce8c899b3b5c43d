#include "common/ctc_join.h"

/* CTC forwards, a work-group for each row: alpha[t][l] = the logarithm of what all paths that stand at position l at time
 * t have gathered.  Work-items own positions; the frame defines all_barrier() for local and global memory. */
KERNEL_ENTRY {
    const int row = group_id(0), tid = local_id(0), first = row * T_len * L;
    const int steps = CTC_STEPS, used = CTC_USED;
    for (int t = 0; t < T_len; t++) {
        for (int l = tid; l < L; l += GROUP) {
            const int at = first + t * L + l;
            T_r found = -A_INF;
            if (t < steps && l < used) {
                if (t == 0) {
                    found = l < 2 ? (T_r)0 : (T_r)-A_INF;
                } else {
                    const int before = at - L;
                    const T_r one = l > 0 ? T_load(alpha, before - 1) : (T_r)-A_INF;
                    const T_r two = l > 1 && jumps[row * L + l] ? T_load(alpha, before - 2) : (T_r)-A_INF;
                    found = ctc_join(T_load(alpha, before), one, two);
                }
                found += T_load(scores, at);
            }
            T_store(alpha, at, found);
        }
        all_barrier();
    }
    if (tid == 0) {
        T_r all = used == 1 ? (T_r)0 : (T_r)-A_INF; /* nothing heard is right where nothing was said */
        if (steps > 0) {
            const int last = first + (steps - 1) * L + used - 1;
            all = ctc_join(T_load(alpha, last), used > 1 ? T_load(alpha, last - 1) : (T_r)-A_INF, -A_INF);
        }
        T_store(loss, row, -all);
    }
}
