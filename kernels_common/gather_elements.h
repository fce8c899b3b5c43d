#include "common/indices.h"

KERNEL_ENTRY {
    const int at = group_id(0) * GROUP + local_id(0);
    if (at >= n0 * n1 * n2 * n3 * n4 * n5) return;
    int rest = at;
    int from = x_off;
    from += rest % n5 * x5;
    rest /= n5;
    from += rest % n4 * x4;
    rest /= n4;
    from += rest % n3 * x3;
    rest /= n3;
    from += rest % n2 * x2;
    rest /= n2;
    from += rest % n1 * x1;
    from += rest / n1 * x0;
    y[at] = x[from + index_clamped((long)idx[at], N) * x_axis];
}
