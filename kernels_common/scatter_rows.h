/* Rows added up by index: the gradient of an embedding.
 *
 * A group is for one index and does its work only where that index comes for the first time: then it looks for the others
 * like it, LANES * EACH of them at a time, and adds their rows in order.  Nothing is sorted, no row has two owners, and the work
 * beyond comparing indices is that of the rows there are. */
#include "common/indices.h"
#define BLOCK (EACH * LANES)

KERNEL_ENTRY {
    LOCAL_ARRAY(int, seen, LANES);
    LOCAL_ARRAY(int, flags, LANES);
    const int lane = local_id(0), own = group_id(0), row = index_placed((long)idx[own], n0, clamp_outside);
    int first = row >= 0;
    for (int start = 0; start < P; start += BLOCK) {
        int found = 0;
        for (int k = 0; k < EACH; k++) {
            const int p = start + lane * EACH + k;
            if (p < P && row >= 0 && index_placed((long)idx[p], n0, clamp_outside) == row) found |= 1 << k;
        }
        /* a row that came before is another group's */
        int before = 0;
        if (start + lane * EACH < own) {
            const int ahead = own - start - lane * EACH;
            before = ahead >= EACH ? found : (found & ((1 << ahead) - 1));
        }
        seen[lane] = found;
        flags[lane] = (found != 0 ? 1 : 0) | (before != 0 ? 2 : 0);
        local_barrier();
        for (int h = LANES / 2; h > 0; h /= 2) {
            if (lane < h) flags[lane] |= flags[lane + h];
            local_barrier();
        }
        const int what = flags[0];
        if (what & 2) first = 0;
        if (first && (what & 1)) {
            for (int l = 0; l < LANES; l++) {
                if (seen[l] == 0) continue;
                for (int k = 0; k < EACH; k++) {
                    if (((seen[l] >> k) & 1) == 0) continue;
                    const int from = (start + l * EACH + k) * I;
                    for (int c = lane; c < I; c += LANES) {
                        const int to = y_off + row * I + c;
                        T_store(y, to, T_load(y, to) + T_load(updates, from + c));
                    }
                }
            }
        }
        local_barrier();
    }
}
