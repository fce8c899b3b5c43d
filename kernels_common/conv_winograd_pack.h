/* One thread transforms one filter of 3 x 3 taps; neighbours in dimension 0 are neighbours in the panel. */
#include "common/conv_winograd_transform.h"

KERNEL_ENTRY {
    const int lane = local_id(0), panel = group_id(0), c = group_id(1) * LINES + local_id(1), g = group_id(2);
    const int n = panel * 32 + lane;
    if (c >= cg) return;
    const int from = w_off + (g * og + n) * w_o + c * w_c, used = n < og;
    float half_way[WINO_A][3];
    UNROLL for (int j = 0; j < 3; j++) {
#define WINO_GET(i) (used ? T_load(w, from + (i) * w_h + j * w_w) : 0.0f)
#define WINO_PUT(i, value) half_way[i][j] = value
        WINO_FILTER(float, WINO_GET, WINO_PUT)
#undef WINO_GET
#undef WINO_PUT
    }
    const int target = ((g * group_count(0) + panel) * WINO_PLANES * cg + c) * 32 + lane;
    UNROLL for (int i = 0; i < WINO_A; i++) {
#define WINO_GET(j) half_way[i][j]
#define WINO_PUT(j, value) packed[target + (i * WINO_A + j) * cg * 32] = value
        WINO_FILTER(float, WINO_GET, WINO_PUT)
#undef WINO_GET
#undef WINO_PUT
    }
}
