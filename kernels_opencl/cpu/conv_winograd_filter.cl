/* A work-item takes a share of the tiles and a range of input channels.  It transforms the inputs of TILES tiles into
 * WINO_PLANES matrices (rows are channels, depth is tiles), and likewise the gradient of 32 output channels at a time;
 * the products of each plane's matrices are added to the work-item's own part of the result. */
#include "conv_winograd_tiles.clh"
#include "common/conv_winograd_back.h"
#include "conv_filter_micro.clh"

/* 16 gradients from element at, of which only the first left are there */
FN float16 wino_gradient(GPTR(const TB) dy, int at, int left) {
    if (left >= 16) return TB_load_v(dy, at);
    float lane[16];
    for (int i = 0; i < 16; i++) lane[i] = i < left ? TB_load(dy, at + i) : 0.0f;
    return vload16(0, lane);
}

/* The gradient of a tile of high x wide outputs, 16 channels from element at: coefficients of plane i to v[i * plane]. */
FN void wino_output_back(GPTR(const TB) dy, int at, int line, int y_ld, int high, int wide, int left, float16 *v, int plane) {
    float16 half_way[WINO_A][WINO_M];
    UNROLL for (int j = 0; j < WINO_M; j++) {
#define WINO_GET(i) ((i) < high && j < wide ? wino_gradient(dy, at + (i) * line + j * y_ld, left) : (float16)(0.0f))
#define WINO_PUT(i, value) half_way[i][j] = value
        WINO_OUT_BACK(float16, WINO_GET, WINO_PUT)
#undef WINO_GET
#undef WINO_PUT
    }
    UNROLL for (int i = 0; i < WINO_A; i++) {
#define WINO_GET(j) half_way[i][j]
#define WINO_PUT(j, value) v[(i * WINO_A + j) * plane] = value
        WINO_OUT_BACK(float16, WINO_GET, WINO_PUT)
#undef WINO_GET
#undef WINO_PUT
    }
}

__attribute__((reqd_work_group_size(1, 1, 1))) KERNEL_ENTRY {
    /* planes lie an odd number of vectors apart, so that they do not fall into the same sets of the cache */
    float16 coefficients[WINO_PLANES * (TILES * CHUNKS + 1)], gradient[WINO_PLANES * (TILES * 2 + 1)], sums[24];
    int row[12];
    const int cg = C / groups, columns = OC / groups, g = group_id(2), part = group_id(0);
    const int c0 = group_id(1) * CHUNKS * 16, cb = min(CHUNKS * 16, cg - c0), chunks = (cb + 15) / 16;
    const int tiles_w = (OW + WINO_M - 1) / WINO_M, tiles_h = (OH + WINO_M - 1) / WINO_M, tiles = N * tiles_h * tiles_w;
    const int share = tiles / splits, begin = share * part + min(tiles % splits, part);
    const int end = begin + share + (part < tiles % splits), limit = x_off + (N * H * W - 1) * x_ld + C;
    GPTR(float) out = parts + (part * groups + g) * WINO_PLANES * cg * w_ld + c0 * w_ld;

    for (int tile0 = begin; tile0 < end; tile0 += TILES) {
        const int count = min(TILES, end - tile0), plane_x = count * chunks | 1, plane_y = count * 2 | 1;
        for (int t = 0; t < count; t++) {
            const int tile = tile0 + t, q = tile / tiles_w, b = q / tiles_h;
            const int ih = (q - b * tiles_h) * WINO_M - ph, iw = (tile - q * tiles_w) * WINO_M - pw;
            wino_input(x, x_off + b * H * W * x_ld + g * cg + c0, ih, iw, H, W, x_ld, chunks, limit, coefficients + t * chunks,
                       1, plane_x);
        }
        for (int n0 = 0; n0 < columns; n0 += 32) {
            const int width = min(32, columns - n0);
            for (int t = 0; t < count; t++) {
                const int tile = tile0 + t, q = tile / tiles_w, b = q / tiles_h;
                const int oh = (q - b * tiles_h) * WINO_M, ow = (tile - q * tiles_w) * WINO_M;
                const int at = y_off + ((b * OH + oh) * OW + ow) * y_ld + g * columns + n0;
                for (int h = 0; h < 2; h++)
                    wino_output_back(dy, at + h * 16, OW * y_ld, y_ld, min(WINO_M, OH - oh), min(WINO_M, OW - ow),
                                     width - h * 16, gradient + t * 2 + h, plane_y);
            }
            for (int plane = 0; plane < WINO_PLANES; plane++) {
                const float *a = (const float *)(coefficients + plane * plane_x);
                GPTR(float) place = out + plane * cg * w_ld + n0;
                for (int r = 0; r < cb;) {
                    const int high = filter_rows(cb - r), valid = min(high, cb - r);
                    for (int j = 0; j < high; j++) row[j] = r + min(j, valid - 1);
                    filter_block(high, width, a, row, 1, &count, 0, chunks * 16,
                                 (const float *)(gradient + plane * plane_y), sums);
                    for (int j = 0; j < valid; j++) filter_add(place + (r + j) * w_ld, sums + 2 * j, tile0 == begin);
                    r += valid;
                }
            }
        }
    }
}
