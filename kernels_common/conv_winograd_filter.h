/* One thread sums the coefficients of one filter over a share of the tiles. */
#include "common/conv_winograd_transform.h"
#include "common/conv_winograd_back.h"

KERNEL_ENTRY {
    const int n = group_id(0) * 32 + local_id(0), c = group_id(1), g = group_id(2) / splits, part = group_id(2) - g * splits;
    const int cg = C / groups, columns = OC / groups;
    const int tiles_w = (OW + WINO_M - 1) / WINO_M, tiles_h = (OH + WINO_M - 1) / WINO_M, tiles = N * tiles_h * tiles_w;
    const int share = tiles / splits, begin = share * part + min(tiles % splits, part);
    const int end = begin + share + (part < tiles % splits);
    float sums[WINO_PLANES];
    UNROLL for (int i = 0; i < WINO_PLANES; i++) sums[i] = 0.0f;
    for (int tile = begin; tile < end && n < columns; tile++) {
        const int q = tile / tiles_w, b = q / tiles_h, oh = (q - b * tiles_h) * WINO_M, ow = (tile - q * tiles_w) * WINO_M;
        const int ih = oh - ph, iw = ow - pw, from = x_off + b * H * W * x_ld + g * cg + c;
        const int at = y_off + (b * OH + oh) * OW * y_ld + g * columns + n;
        float inputs[WINO_A][WINO_A], outputs[WINO_A][WINO_M], v[WINO_A], u[WINO_A];
        UNROLL for (int j = 0; j < WINO_A; j++) {
            const int column = iw + j >= 0 && iw + j < W;
#define WINO_GET(i) \
    (column && ih + (i) >= 0 && ih + (i) < H ? TA_load(x, from + ((ih + (i)) * W + iw + j) * x_ld) : 0.0f)
#define WINO_PUT(i, value) inputs[i][j] = value
            WINO_IN(float, WINO_GET, WINO_PUT)
#undef WINO_GET
#undef WINO_PUT
        }
        UNROLL for (int j = 0; j < WINO_M; j++) {
#define WINO_GET(i) (oh + (i) < OH && ow + j < OW ? TB_load(dy, at + ((i) * OW + ow + j) * y_ld) : 0.0f)
#define WINO_PUT(i, value) outputs[i][j] = value
            WINO_OUT_BACK(float, WINO_GET, WINO_PUT)
#undef WINO_GET
#undef WINO_PUT
        }
        UNROLL for (int i = 0; i < WINO_A; i++) {
#define WINO_GET(j) inputs[i][j]
#define WINO_PUT(j, value) v[j] = value
            WINO_IN(float, WINO_GET, WINO_PUT)
#undef WINO_GET
#undef WINO_PUT
#define WINO_GET(j) outputs[i][j]
#define WINO_PUT(j, value) u[j] = value
            WINO_OUT_BACK(float, WINO_GET, WINO_PUT)
#undef WINO_GET
#undef WINO_PUT
            UNROLL for (int j = 0; j < WINO_A; j++) sums[i * WINO_A + j] += v[j] * u[j];
        }
    }
    if (n < w_ld) {
        const int target = ((part * groups + g) * WINO_PLANES * cg + c) * w_ld + n;
        UNROLL for (int i = 0; i < WINO_PLANES; i++) parts[target + i * cg * w_ld] = sums[i];
    }
}
