#include "common/indices.h"

KERNEL_ENTRY {
    const int at = group_id(0) * GROUP + local_id(0);
    if (at >= O * J * I) return;
    const int i = at % I;
    const int j = at / I % J;
    const int o = at / I / J;
    const int row = index_clamped((long)idx[idx_off + j], N);
    y[y_off + o * y_o + j * y_j + i] = x[x_off + o * x_o + row * x_n + i];
}
