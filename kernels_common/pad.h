#include "common/pad_map.h"

KERNEL_ENTRY {
    const int at = group_id(0) * GROUP + local_id(0);
    if (at >= d0 * d1 * d2 * d3 * d4 * d5) return;
    const int size[6] = {d0, d1, d2, d3, d4, d5};
    const int from[6] = {n0, n1, n2, n3, n4, n5};
    const int stride[6] = {x0, x1, x2, x3, x4, x5};
    const int low[6] = {p0, p1, p2, p3, p4, p5};
    int rest = at;
    int source = x_off;
    int inside = 1;
    for (int d = 5; d >= 0; d--) {
        const int i = pad_map(rest % size[d] - low[d], from[d], mode);
        rest /= size[d];
        inside &= i >= 0;
        source += i * stride[d];
    }
    y[at] = inside ? x[source] : (T)value;
}
