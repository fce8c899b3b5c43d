/* One thread adds up the parts of one filter's coefficients, the first part first, and transforms them back into taps;
 * neighbours along output channels. */
#include "common/conv_winograd_transform.h"
#include "common/conv_winograd_back.h"

KERNEL_ENTRY {
    const int n = group_id(0) * GROUP + local_id(0), og = OC / groups, cg = C / groups;
    if (n >= groups * cg * og) return;
    const int row = n / og, o = n - row * og, g = row / cg, c = row - g * cg;
    const int plane = cg * w_ld, from = g * WINO_PLANES * plane + c * w_ld + o, step = groups * WINO_PLANES * plane;
    float half_way[3][WINO_A], sums[WINO_A];
    UNROLL for (int j = 0; j < WINO_A; j++) {
        UNROLL for (int i = 0; i < WINO_A; i++) sums[i] = 0.0f;
        for (int s = 0; s < splits; s++) {
            UNROLL for (int i = 0; i < WINO_A; i++) sums[i] += parts[from + s * step + (i * WINO_A + j) * plane];
        }
#define WINO_GET(i) sums[i]
#define WINO_PUT(i, value) half_way[i][j] = value
        WINO_FILTER_BACK(float, WINO_GET, WINO_PUT)
#undef WINO_GET
#undef WINO_PUT
    }
    const int target = dw_off + ((g * og + o) * cg + c) * 9;
    UNROLL for (int i = 0; i < 3; i++) {
#define WINO_GET(j) half_way[i][j]
#define WINO_PUT(j, value) T_store(dw, target + i * 3 + j, value)
        WINO_FILTER_BACK(float, WINO_GET, WINO_PUT)
#undef WINO_GET
#undef WINO_PUT
    }
}
