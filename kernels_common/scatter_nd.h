#include "common/indices.h"
#include "common/scatter_update.h"

/* A work-item owns inner element i of the rows whose number is `part` modulo PARTS, and walks all tuples in order. */
#define PARTS 64

KERNEL_ENTRY {
    const int at = group_id(0) * GROUP + local_id(0);
    const int i = at % I;
    const int part = at / I;
    if (part >= PARTS || part >= ROWS) return;
    const int size[6] = {n0, n1, n2, n3, n4, n5};
    for (int p = 0; p < P; p++) {
        int row = 0;
        for (int d = 0; d < K && row >= 0; d++) {
            const int n = index_placed((long)idx[p * K + d], size[d], clamp_outside);
            row = n < 0 ? -1 : row * size[d] + n;
        }
        if (row < 0 || row % PARTS != part) continue;
        const int to = y_off + row * I + i;
        T_store(y, to, scatter_update(T_load(y, to), T_load(updates, p * I + i), reduction));
    }
}
