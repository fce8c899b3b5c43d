#include "common/pad_map.h"

/* A work-item writes CHUNK elements' worth of rows; the part of a row that lies inside x is copied by vectors. */
FN void pad_fill(GPTR(T) to, T word, int n) {
    int i = 0;
    for (; i + 16 <= n; i += 16) vstore16(word, 0, to + i);
    for (; i < n; i++) to[i] = word;
}

KERNEL_ENTRY {
    const int size[5] = {d0, d1, d2, d3, d4};
    const int from[5] = {n0, n1, n2, n3, n4};
    const int stride[5] = {x0, x1, x2, x3, x4};
    const int low[5] = {p0, p1, p2, p3, p4};
    const int rows = max(1, CHUNK / max(1, d5));
    const int end = min(d0 * d1 * d2 * d3 * d4, (group_id(0) + 1) * rows);
    /* [left, right) of a row comes straight from x */
    const int left = clamp(p5, 0, d5);
    const int right = clamp(p5 + n5, left, d5);
    for (int r = group_id(0) * rows; r < end; r++) {
        GPTR(T) to = y + r * d5;
        int rest = r;
        int source = x_off;
        int inside = 1;
        for (int d = 4; d >= 0; d--) {
            const int i = pad_map(rest % size[d] - low[d], from[d], mode);
            rest /= size[d];
            inside &= i >= 0;
            source += i * stride[d];
        }
        if (!inside) {
            pad_fill(to, (T)value, d5);
            continue;
        }
        if (mode == 0) {
            pad_fill(to, (T)value, left);
            pad_fill(to + right, (T)value, d5 - right);
        } else {
            for (int i = 0; i < left; i++) to[i] = x[source + pad_map(i - p5, n5, mode) * x5];
            for (int i = right; i < d5; i++) to[i] = x[source + pad_map(i - p5, n5, mode) * x5];
        }
        source -= p5 * x5;
        int i = left;
        if (x5 == 1)
            for (; i + 16 <= right; i += 16) vstore16(vload16(0, x + source + i), 0, to + i);
        for (; i < right; i++) to[i] = x[source + i * x5];
    }
}
