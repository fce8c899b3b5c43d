#include "common/indices.h"

KERNEL_ENTRY {
    const int at = group_id(0) * GROUP + local_id(0);
    if (at >= BATCH * P * I) return;
    const int i = at % I;
    const int tuple = at / I; /* b * P + p */
    const int size[6] = {n0, n1, n2, n3, n4, n5};
    int rows = 1;
    int row = 0;
    for (int d = 0; d < K; d++) {
        row = row * size[d] + index_clamped((long)idx[tuple * K + d], size[d]);
        rows *= size[d];
    }
    y[at] = x[(tuple / P * rows + row) * I + i];
}
