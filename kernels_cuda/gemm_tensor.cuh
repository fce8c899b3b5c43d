/* What the products on tensor cores share: the order of tiles, a warp's multiplication of two tiles, storing its sums.
 * Stands behind tensor_cores.cuh and tensor_tile.cuh. */

/* Block `id` of a grid of tiles: bands of BAND rows of tiles, each gone through column by column, so that blocks that
 * run at the same time read few distinct rows of A and columns of B. */
FN void tile_of(int id, int tiles_m, int tiles_n, int *tile_m, int *tile_n) {
    const int band = id / (BAND * tiles_n), first = band * BAND, within = id - first * tiles_n;
    const int height = tiles_m - first < BAND ? tiles_m - first : BAND;
    *tile_n = within / height;
    *tile_m = first + within - *tile_n * height;
}

#define ROLLED _Pragma("unroll 1") /* an epilogue may be long: as few copies of it as vectors need */

/* 16 bytes of results at once; `to` is a multiple of them. */
FN void store_results(GPTR(TC) to, const float *v) {
    uint packed[4];
#if TC_bytes == 4
    UNROLL for (int i = 0; i < 4; i++) packed[i] = a_float_to_bits(v[i]);
#else
    UNROLL for (int i = 0; i < 4; i++) packed[i] = PACK(TC)(v[2 * i], v[2 * i + 1]);
#endif
    store_unit(to, packed);
}

/* A warp's sums go through `stage`, 16 rows of COLUMNS at a time: then a lane holds 8 columns of a row, the epilogue's
 * operands are read and the results written along rows.  `finish(v, m, n)` is the epilogue; row m of this product's
 * result begins at `to + place(m)`; `aligned` says that 8 columns may be stored in units of 16 bytes. */
template <int COLUMNS, class P, class F>
FN void store_rows_at(GPTR(TC) to, float *stage, const float (*sums)[4], int m0, int n0, int rows, int columns, P place,
                      bool aligned, int lane, F finish) {
    stage_rows<COLUMNS>(stage, sums, lane);
    __syncwarp();
    ROLLED for (int i = 0; i < COLUMNS / 16; i++) {
        const int unit = i * 32 + lane, row = unit / (COLUMNS / 8), column = unit % (COLUMNS / 8) * 8;
        const int m = m0 + row, n = n0 + column;
        const float *from = stage + row * RowStage<COLUMNS>::STEP + column;
        if (m >= rows) continue;
        const int start = place(m);
        if (aligned && n + 8 <= columns) {
            float v[8];
            UNROLL for (int j = 0; j < 8; j++) v[j] = finish(from[j], m, n + j);
            UNROLL for (int j = 0; j < 8; j += 16 / TC_bytes) store_results(to + (start + n + j), v + j);
        } else {
            ROLLED for (int j = 0; j < 8 && n + j < columns; j++)
                TC_store(to, start + n + j, finish(from[j], m, n + j));
        }
    }
    __syncwarp();
}
/* The same for rows `stride` apart. */
template <int COLUMNS, class F>
FN void store_rows(GPTR(TC) to, float *stage, const float (*sums)[4], int m0, int n0, int rows, int columns, int stride,
                   bool aligned, int lane, F finish) {
    store_rows_at<COLUMNS>(
        to, stage, sums, m0, n0, rows, columns, [&](int m) { return m * stride; }, aligned, lane, finish);
}
