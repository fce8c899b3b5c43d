/* Top-k by counting: an element that as many as r others come before has place r.  A work-item per element; the row
 * passes through local memory a tile at a time. */
#include "common/topk_order.h"

KERNEL_ENTRY {
    LOCAL_ARRAY(ITEM, tile, GROUP);
    const int lid = local_id(0), across = (n + GROUP - 1) / GROUP, row = group_id(0) / across;
    const int base = x_off + row * x_row, mine = group_id(0) % across * GROUP + lid;
    const ITEM item = mine < n ? ITEM_MAKE(mine) : ITEM_NONE;
    int place = 0;
    for (int start = 0; start < n; start += GROUP) {
        tile[lid] = start + lid < n ? ITEM_MAKE(start + lid) : ITEM_NONE;
        local_barrier();
        for (int j = 0; j < GROUP; j++) place += ITEM_BEFORE(tile[j], item) ? 1 : 0;
        local_barrier();
    }
    if (mine < n && place < k) TOPK_PUT(row * k + place, item)
}
