/* Top-k of a row by one group: the best HALF so far stay sorted in the lower half of a local array, HALF new elements
 * come into the upper half, and a bitonic sort puts the best of both in front.  Needs k <= HALF. */
#include "common/topk_order.h"

KERNEL_ENTRY {
    LOCAL_ARRAY(ITEM, items, 2 * HALF);
    const int lid = local_id(0), row = group_id(0), base = x_off + row * x_row;
    for (int j = lid; j < HALF; j += GROUP) items[j] = ITEM_NONE;
    for (int start = 0; start < n; start += HALF) {
        for (int j = lid; j < HALF; j += GROUP) items[HALF + j] = start + j < n ? ITEM_MAKE(start + j) : ITEM_NONE;
        local_barrier();
        for (int size = 2; size <= 2 * HALF; size *= 2)
            for (int step = size / 2; step > 0; step /= 2) {
                for (int t = lid; t < HALF; t += GROUP) {
                    const int low = t / step * 2 * step + t % step, high = low + step;
                    const ITEM a = items[low], b = items[high];
                    const int up = (low & size) == 0;
                    if (up ? ITEM_BEFORE(b, a) : ITEM_BEFORE(a, b)) {
                        items[low] = b;
                        items[high] = a;
                    }
                }
                local_barrier();
            }
    }
    for (int j = lid; j < k; j += GROUP) {
        const ITEM item = items[j];
        TOPK_PUT(row * k + j, item)
    }
}
