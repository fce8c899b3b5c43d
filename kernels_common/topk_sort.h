/* A whole row sorted (k = n) by one group, in the memory of the row's `indices`: a bitonic network in which every
 * comparison points the same way, so that a row of any length is a longer one whose missing end is already in place.
 * GROUP_BARRIER makes global memory visible within the group. */
#include "common/topk_order.h"

KERNEL_ENTRY {
    const int lid = local_id(0), row = group_id(0), base = x_off + row * x_row;
    GPTR(ITEM) items = (GPTR(ITEM))(indices + row * n);
    for (int j = lid; j < n; j += GROUP) items[j] = ITEM_MAKE(j);
    GROUP_BARRIER();
    int padded = 1;
    while (padded < n) padded *= 2;
    for (int size = 2; size <= padded; size *= 2)
        for (int step = size / 2; step > 0; step /= 2) {
            for (int t = lid; t < padded / 2; t += GROUP) {
                const int low = t / step * 2 * step + t % step;
                /* the first step of a merge compares mirrored places: two rising halves become one bitonic whole */
                const int high = step == size / 2 ? low / size * size + size - 1 - low % size : low + step;
                if (high < n) {
                    const ITEM a = items[low], b = items[high];
                    if (ITEM_BEFORE(b, a)) {
                        items[low] = b;
                        items[high] = a;
                    }
                }
            }
            GROUP_BARRIER();
        }
    for (int j = lid; j < n; j += GROUP) {
        const ITEM item = items[j];
        TOPK_PUT(row * n + j, item)
    }
}
