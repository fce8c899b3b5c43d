#include "common/indices.h"

/* A work-item moves CHUNK elements' worth of rows; a row is copied by vectors. */
KERNEL_ENTRY {
    const int rows = max(1, CHUNK / max(1, I));
    const int end = min(O * J, (group_id(0) + 1) * rows);
    for (int r = group_id(0) * rows; r < end; r++) {
        const int o = r / J;
        const int j = r - o * J;
        const int row = index_clamped((long)idx[idx_off + j], N);
        GPTR(const T) from = x + x_off + o * x_o + row * x_n;
        GPTR(T) to = y + y_off + o * y_o + j * y_j;
        int i = 0;
        for (; i + 64 <= I; i += 64)
            UNROLL for (int k = 0; k < 4; k++) vstore16(vload16(k, from + i), k, to + i);
        for (; i + 16 <= I; i += 16) vstore16(vload16(0, from + i), 0, to + i);
        for (; i < I; i++) to[i] = from[i];
    }
}
