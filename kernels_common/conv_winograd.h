/* A work-group takes TILES tiles and 32 output channels, a thread one of each: its products of all planes stay in
 * registers, and so does their way back.  The tiles' inputs are transformed KC channels at a time into local memory. */
#include "common/conv_winograd_transform.h"
#ifdef WINO_POOLED
#include "common/pool_join.h"
#endif

KERNEL_ENTRY {
    LOCAL_ARRAY(float, v, WINO_PLANES * KC * TILES);
    const int cg = C / groups, columns = OC / groups, g = group_id(2), panels = (columns + 31) / 32;
    const int tiles_w = (OW + WINO_M - 1) / WINO_M, tiles_h = (OH + WINO_M - 1) / WINO_M, tiles = N * tiles_h * tiles_w;
    const int lane = local_id(0), own = local_id(1), thread = own * 32 + lane, n = group_id(1) * 32 + lane;
    float sums[WINO_PLANES];
    UNROLL for (int i = 0; i < WINO_PLANES; i++) sums[i] = 0.0f;
    for (int k0 = 0; k0 < cg; k0 += KC) {
        if (thread < TILES * KC) {
            const int t = thread / KC, k = thread % KC, tile = group_id(0) * TILES + t;
            const int q = tile / tiles_w, b = q / tiles_h;
            const int ih = (q - b * tiles_h) * WINO_PITCH - ph, iw = (tile - q * tiles_w) * WINO_PITCH - pw;
            const int usable = tile < tiles && k0 + k < cg, channel = x_off + g * cg + k0 + k;
            float half_way[WINO_A][WINO_A];
            UNROLL for (int j = 0; j < WINO_A; j++) {
                const int column = usable && iw + j >= 0 && iw + j < W;
#define WINO_GET(i)                                                                                           \
    (column && ih + i >= 0 && ih + i < H ? TA_load(x, channel + ((b * H + ih + i) * W + iw + j) * x_ld) : 0.0f)
#define WINO_PUT(i, value) half_way[i][j] = value
                WINO_IN(float, WINO_GET, WINO_PUT)
#undef WINO_GET
#undef WINO_PUT
            }
            UNROLL for (int i = 0; i < WINO_A; i++) {
#define WINO_GET(j) half_way[i][j]
#define WINO_PUT(j, value) v[((i * WINO_A + j) * KC + k) * TILES + t] = value
                WINO_IN(float, WINO_GET, WINO_PUT)
#undef WINO_GET
#undef WINO_PUT
            }
        }
        local_barrier();
        /* panels are padded with zeros: every lane may read */
        const int depth = cg - k0 < KC ? cg - k0 : KC;
        for (int k = 0; k < depth; k++) {
#ifdef WINO_RAW
            const int at = ((g * panels + group_id(1)) * 9 * cg + k0 + k) * 32 + lane;
            float half_way[WINO_A][3];
            UNROLL for (int j = 0; j < 3; j++) {
#define WINO_GET(i) TB_load(w, at + (i * 3 + j) * cg * 32)
#define WINO_PUT(i, value) half_way[i][j] = value
                WINO_FILTER(float, WINO_GET, WINO_PUT)
#undef WINO_GET
#undef WINO_PUT
            }
            UNROLL for (int i = 0; i < WINO_A; i++) {
#define WINO_GET(j) half_way[i][j]
#define WINO_PUT(j, value) sums[i * WINO_A + j] += v[((i * WINO_A + j) * KC + k) * TILES + own] * (value)
                WINO_FILTER(float, WINO_GET, WINO_PUT)
#undef WINO_GET
#undef WINO_PUT
            }
#else
            const int at = ((g * panels + group_id(1)) * WINO_PLANES * cg + k0 + k) * 32 + lane;
            UNROLL for (int i = 0; i < WINO_PLANES; i++) sums[i] += v[(i * KC + k) * TILES + own] * w[at + i * cg * 32];
#endif
        }
        local_barrier();
    }
    const int tile = group_id(0) * TILES + own, q = tile / tiles_w, b = q / tiles_h;
    const int oh = (q - b * tiles_h) * WINO_M, ow = (tile - q * tiles_w) * WINO_M, channel = g * columns + n;
    float half_way[WINO_M][WINO_A];
    UNROLL for (int j = 0; j < WINO_A; j++) {
#define WINO_GET(i) sums[i * WINO_A + j]
#define WINO_PUT(i, value) half_way[i][j] = value
        WINO_OUT(float, WINO_GET, WINO_PUT)
#undef WINO_GET
#undef WINO_PUT
    }
#ifdef WINO_POOLED
    float out[WINO_M][WINO_M];
    UNROLL for (int i = 0; i < WINO_M; i++) {
#define WINO_GET(j) half_way[i][j]
#define WINO_PUT(j, value) out[i][j] = value
        WINO_OUT(float, WINO_GET, WINO_PUT)
#undef WINO_GET
#undef WINO_PUT
    }
    const int PH = OH / pool_h, PW = OW / pool_w;
    if (tile >= tiles || n >= columns) return;
    for (int i = 0; i + pool_h <= WINO_M && oh + i + pool_h <= OH; i += pool_h) {
        for (int j = 0; j + pool_w <= WINO_M && ow + j + pool_w <= OW; j += pool_w) {
            float pooled = 0.0f;
            for (int k = 0; k < pool_h * pool_w; k++) {
                const int kh = i + k / pool_w, kw = j + k % pool_w;
                const float v = EPILOGUE(out[kh][kw], b, (oh + kh) * OW + ow + kw, channel);
                pooled = k == 0 ? v : POOL_JOIN(pooled, v);
            }
            if (average) pooled /= (float)(pool_h * pool_w);
            const int m = (oh + i) / pool_h * PW + (ow + j) / pool_w;
            TC_store(y, y_off + (b * PH * PW + m) * y_ld + channel, POOLED(pooled, b, m, channel));
        }
    }
#else
    UNROLL for (int i = 0; i < WINO_M; i++) {
        float out[WINO_M];
#define WINO_GET(j) half_way[i][j]
#define WINO_PUT(j, value) out[j] = value
        WINO_OUT(float, WINO_GET, WINO_PUT)
#undef WINO_GET
#undef WINO_PUT
        UNROLL for (int j = 0; j < WINO_M; j++) {
            if (tile < tiles && n < columns && oh + i < OH && ow + j < OW) {
                const int pixel = (oh + i) * OW + ow + j;
                TC_store(y, y_off + (b * OH * OW + pixel) * y_ld + channel, EPILOGUE(out[j], b, pixel, channel));
            }
        }
    }
#endif
}
