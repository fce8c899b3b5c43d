#include "common/indices.h"
#include "common/scatter_update.h"

/* A work-item owns a line of y along the axis: no other line's updates reach it. */
KERNEL_ENTRY {
    const int size[6] = {n0, n1, n2, n3, n4, n5};
    const int stride[6] = {y0, y1, y2, y3, y4, y5};
    int rest = global_id(0);
    int start = 0; /* of the line in idx and updates */
    int step = 1;  /* between its elements there */
    int base = y_off;
    int weight = 1;
    for (int d = 5; d >= 0; d--) {
        if (d == axis) {
            step = weight;
        } else {
            const int c = rest % size[d];
            rest /= size[d];
            start += c * weight;
            base += c * stride[d];
        }
        weight *= size[d];
    }
    if (rest > 0) return;
    for (int j = 0; j < size[axis]; j++) {
        const int from = start + j * step;
        const int n = index_placed((long)idx[from], N, clamp_outside);
        if (n < 0) continue;
        const int to = base + n * y_axis;
        T_store(y, to, scatter_update(T_load(y, to), T_load(updates, from), reduction));
    }
}
