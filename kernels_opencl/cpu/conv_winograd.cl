/* A work-item takes a block of tiles and a range of 32-column panels: it transforms the tiles' inputs into WINO_PLANES
 * matrices (rows are tiles, depth is channels), multiplies each with its plane of the panel, transforms the products
 * back.  All of that lies in private memory, which a thread uses again for its next item: it stays in the second-level
 * cache.  COEF and SUMS are the sizes of that memory in KiB; where the coefficients of all channels do not fit, the depth
 * is taken in steps and the products of as many panels as fit are kept.
 *
 * With WINO_RAW the filters come as they are, and a panel's are transformed FILTERS channels at a time for each block:
 * more arithmetic, a quarter of the memory traffic. */
#include "conv_winograd_tiles.clh"
#include "conv_winograd_micro.clh"
#ifdef WINO_POOLED
#include "common/pool_join.h"
#endif

__attribute__((reqd_work_group_size(1, 1, 1))) KERNEL_ENTRY {
    float16 coefficients[COEF * 16], products[SUMS * 16];
#ifdef WINO_RAW
    float16 filters[WINO_PLANES * WINO_FILTER_STEP];
#endif
    const int cg = C / groups, columns = OC / groups, g = group_id(2);
    const int tiles_w = (OW + WINO_M - 1) / WINO_M, tiles_h = (OH + WINO_M - 1) / WINO_M, tiles = N * tiles_h * tiles_w;
    const int blocks = group_count(0), first = tiles / blocks * group_id(0) + min(tiles % blocks, group_id(0));
    const int count = tiles / blocks + (group_id(0) < tiles % blocks);
    const int panels = (columns + 31) / 32, p_begin = panels * group_id(1) / group_count(1);
    const int p_end = panels * (group_id(1) + 1) / group_count(1), limit = x_off + (N * H * W - 1) * x_ld + C;
    /* planes lie an odd number of vectors apart, so that they do not fall into the same sets of the cache */
    const int plane_sums = count * 2 | 1, panel_sums = WINO_PLANES * plane_sums;
    /* chunks are 16 channels */
    const int all_chunks = (cg + 15) / 16, most_chunks = (COEF * 16 / WINO_PLANES - 1) / count;
    const int steps = (all_chunks + most_chunks - 1) / most_chunks, step = (all_chunks + steps - 1) / steps * 16;
    const int held = steps > 1 ? SUMS * 16 / panel_sums : 1;
    /* rows of the micro-kernel: the block in equal parts */
    const int parts = (count + WINO_MOST_ROWS - 1) / WINO_MOST_ROWS, rows = (count + parts - 1) / parts;

    for (int p0 = p_begin; p0 < p_end; p0 += held) {
        const int p1 = min(p_end, p0 + held);
        for (int k0 = 0; k0 < cg; k0 += step) {
            const int k1 = min(cg, k0 + step), chunks = (k1 - k0 + 15) / 16, plane_chunks = chunks * count | 1;
            if (steps > 1 || p0 == p_begin) {
                for (int t = 0; t < count; t++) {
                    const int tile = first + t, q = tile / tiles_w, b = q / tiles_h;
                    const int ih = (q - b * tiles_h) * WINO_PITCH - ph, iw = (tile - q * tiles_w) * WINO_PITCH - pw;
                    wino_input(x, x_off + b * H * W * x_ld + g * cg + k0, ih, iw, H, W, x_ld, chunks, limit,
                               coefficients + t, count, plane_chunks);
                }
            }
            for (int p = p0; p < p1; p++) {
                float16 *s = products + (p - p0) * panel_sums;
#ifdef WINO_RAW
                for (int f0 = k0; f0 < k1; f0 += FILTERS) {
                    const int depth = min(FILTERS, k1 - f0), filter_step = WINO_FILTER_STEP * 16;
                    wino_filters(w + ((g * panels + p) * 9 * cg + f0) * 32, cg * 32, depth, columns - p * 32, filters);
                    const float *panel = (const float *)filters;
                    const int more = f0 + FILTERS < k1, end = !more && p + 1 == panels;
                    const int next_p = more || end ? p : p + 1, next_f = more ? f0 + FILTERS : end ? f0 : k0;
                    GPTR(const TB) next = w + ((g * panels + next_p) * 9 * cg + next_f) * 32;
#else
                {
                    const int f0 = k0, depth = k1 - k0, filter_step = cg * 32;
                    GPTR(const float) panel = w + ((g * panels + p) * WINO_PLANES * cg + k0) * 32;
#endif
                    for (int plane = 0; plane < WINO_PLANES; plane++) {
#ifdef WINO_RAW
                        wino_ahead(next, cg * 32, plane);
#endif
                        const float16 *a = coefficients + plane * plane_chunks + (f0 - k0) / 16 * count;
                        for (int r = 0; r < count; r += rows)
                            wino_rows(min(rows, count - r), columns - p * 32, (const float *)(a + r), count * 16,
                                      panel + plane * filter_step, depth, s + plane * plane_sums + r * 2, f0 == 0);
                    }
                }
            }
        }
        for (int p = p0; p < p1; p++) {
            const int n = p * 32;
            for (int t = 0; t < count; t++) {
                const int tile = first + t, q = tile / tiles_w, b = q / tiles_h;
                const int oh = (q - b * tiles_h) * WINO_M, ow = (tile - q * tiles_w) * WINO_M;
                const int high = min(WINO_M, OH - oh), wide = min(WINO_M, OW - ow);
                for (int h = 0; h < 2 && columns - n > 16 * h; h++) {
                    const int left = columns - n - 16 * h, channel = g * columns + n + 16 * h;
                    float16 out[WINO_M * WINO_M];
                    wino_output(products + (p - p0) * panel_sums + t * 2 + h, plane_sums, out);
#ifdef WINO_POOLED
                    /* windows lie inside tiles, and those that the image cuts off are left out */
                    const int PH = OH / pool_h, PW = OW / pool_w, window = pool_h * pool_w;
                    for (int i = 0; i + pool_h <= high; i += pool_h)
                        for (int j = 0; j + pool_w <= wide; j += pool_w) {
                            const int m = (oh + i) * OW + ow + j, pooled_m = (oh + i) / pool_h * PW + (ow + j) / pool_w;
                            const int at = y_off + (b * PH * PW + pooled_m) * y_ld + channel;
                            if (left >= 16) {
                                float16 v = EPILOGUE_V(out[i * WINO_M + j], b, m, channel);
                                for (int k = 1; k < window; k++) {
                                    const int kh = k / pool_w, kw = k % pool_w;
                                    const float16 next =
                                        EPILOGUE_V(out[(i + kh) * WINO_M + j + kw], b, m + kh * OW + kw, channel);
                                    v = POOL_JOIN(v, next);
                                }
                                if (average) v /= (float)window;
                                TC_store_v(y, at, POOLED_V(v, b, pooled_m, channel));
                                continue;
                            }
                            for (int l = 0; l < left; l++) {
                                const float *lane = (const float *)(out + i * WINO_M + j) + l;
                                float v = EPILOGUE(lane[0], b, m, channel + l);
                                for (int k = 1; k < window; k++) {
                                    const int kh = k / pool_w, kw = k % pool_w;
                                    const float next =
                                        EPILOGUE(lane[(kh * WINO_M + kw) * 16], b, m + kh * OW + kw, channel + l);
                                    v = POOL_JOIN(v, next);
                                }
                                if (average) v /= (float)window;
                                TC_store(y, at + l, POOLED(v, b, pooled_m, channel + l));
                            }
                        }
#else
                    for (int i = 0; i < high; i++) {
                        const int pixel = (oh + i) * OW + ow, at = y_off + (b * OH * OW + pixel) * y_ld + channel;
                        for (int j = 0; j < wide; j++) {
                            const float16 v = out[i * WINO_M + j];
                            if (left >= 16) {
                                TC_store_v(y, at + j * y_ld, EPILOGUE_V(v, b, pixel + j, channel));
                            } else {
                                float lane[16];
                                vstore16(v, 0, lane);
                                if (left >= 8) { /* the second vector ends with the last channel; the epilogue may read y */
                                    const int back = left - 8;
                                    const float8 v0 = EPILOGUE_V8(v.lo, b, pixel + j, channel);
                                    const float8 v1 = EPILOGUE_V8(vload8(0, lane + back), b, pixel + j, channel + back);
                                    TC_store_v8(y, at + j * y_ld + back, v1);
                                    TC_store_v8(y, at + j * y_ld, v0);
                                    continue;
                                }
                                for (int l = 0; l < left; l++)
                                    TC_store(y, at + j * y_ld + l, EPILOGUE(lane[l], b, pixel + j, channel + l));
                            }
                        }
                    }
#endif
                }
            }
        }
    }
}
