/* Top-k of a row by one work-item: a heap of the best k with the worst of them on top, in the memory of the row's
 * `indices`; each element that beats the top takes its place.  Taking the heap apart from the end sorts it. */
#define TOPK_BITS(v) as_ulong(v)
#include "common/topk_order.h"

/* put `item` where `hole` is, or further down a heap of `size` items */
#define SIFT_DOWN(heap, hole, size, item)                                                                     \
    {                                                                                                         \
        int at_ = hole;                                                                                       \
        for (int child = 2 * at_ + 1; child < (size); child = 2 * at_ + 1) {                                  \
            if (child + 1 < (size) && ITEM_BEFORE(heap[child], heap[child + 1])) child++;                     \
            if (!ITEM_BEFORE(item, heap[child])) break;                                                       \
            heap[at_] = heap[child];                                                                          \
            at_ = child;                                                                                      \
        }                                                                                                     \
        heap[at_] = item;                                                                                     \
    }

KERNEL_ENTRY {
    const int share = (rows + group_count(0) - 1) / group_count(0);
    const int begin = group_id(0) * share, end = min(rows, begin + share);
    for (int row = begin; row < end; row++) {
        const int base = x_off + row * x_row;
        GPTR(ITEM) heap = (GPTR(ITEM))(indices + row * k);
        for (int j = 0; j < k; j++) heap[j] = ITEM_MAKE(j);
        for (int j = k / 2 - 1; j >= 0; j--) {
            const ITEM item = heap[j];
            SIFT_DOWN(heap, j, k, item)
        }
        ITEM worst = heap[0];
        for (int j = k; j < n; j++) {
            const ITEM item = ITEM_MAKE(j);
            if (ITEM_BEFORE(item, worst)) {
                SIFT_DOWN(heap, 0, k, item)
                worst = heap[0];
            }
        }
        for (int last = k - 1; last > 0; last--) {
            const ITEM item = heap[last];
            heap[last] = heap[0];
            SIFT_DOWN(heap, 0, last, item)
        }
        for (int j = 0; j < k; j++) {
            const ITEM item = heap[j];
            TOPK_PUT(row * k + j, item)
        }
    }
}
