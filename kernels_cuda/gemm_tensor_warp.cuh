/* A block's tile on WM x WN warps with mma: shapes, and one tile of depth BK.  Stands behind gemm_tensor.cuh. */
#define THREADS (32 * WM * WN)
#define UNIT_ELEMENTS (16 / TA_bytes)
#define DEPTH_UNITS (BK / UNIT_ELEMENTS) /* 16-byte units of a row along the depth */
#define A_TILE_BYTES (BM * BK * TA_bytes)
#define B_TILE_BYTES (BN * BK * TA_bytes)
#define WARP_ROWS (BM / WM)
#define WARP_COLUMNS (BN / WN)
#define MT (WARP_ROWS / 16)
#define NT (WARP_COLUMNS / 8)
#define STAGE_COLUMNS (WARP_COLUMNS > 64 ? 64 : WARP_COLUMNS)

/* Fragments of a warp's part of two tiles at one step of 32 bytes of depth. */
FN void read_fragments(uint (*fa)[4], uint (*fb)[4], const uchar *ta, const uchar *tb, int row, int column, int step,
                       int lane) {
    UNROLL for (int i = 0; i < MT; i++) fragment_a<DEPTH_UNITS>(fa[i], ta, row + 16 * i, 2 * step, lane);
    UNROLL for (int j = 0; j < NT / 2; j++) {
#if !B_ALONG_N
        fragments_b<DEPTH_UNITS>(fb[j], tb, column + 16 * j, 2 * step, lane);
#elif TA_bytes == 4
        fragments_b_rows_f32<BN / 4>(fb[j], tb, 8 * step, (column + 16 * j) / 4, lane);
#else
        fragments_b_rows<BN / 8>(fb[j], tb, 16 * step, (column + 16 * j) / 8, lane);
#endif
    }
#if TA_bytes == 4 && !ROUNDED
    UNROLL for (int i = 0; i < MT; i++) round_tf32<4>(fa[i]);
    UNROLL for (int j = 0; j < NT / 2; j++) round_tf32<4>(fb[j]);
#endif
}

/* sums += A tile x B tile.  The fragments of a step are read while the one before is multiplied. */
FN void multiply_tiles(float (*sums)[NT][4], const uchar *ta, const uchar *tb, int row, int column, int lane) {
    uint fa[2][MT][4], fb[2][NT / 2][4];
    read_fragments(fa[0], fb[0], ta, tb, row, column, 0, lane);
    UNROLL for (int step = 0; step < DEPTH_UNITS / 2; step++) {
        if (step + 1 < DEPTH_UNITS / 2)
            read_fragments(fa[(step + 1) & 1], fb[(step + 1) & 1], ta, tb, row, column, step + 1, lane);
        UNROLL for (int i = 0; i < MT; i++)
            UNROLL for (int j = 0; j < NT; j++) MMA(TA)(sums[i][j], fa[step & 1][i], fb[step & 1][j / 2] + j % 2 * 2);
    }
}

/* The warp's sums to the result; every warp has a stage of its own in `shared`, where nothing else is needed now. */
template <class F>
FN void store_sums(GPTR(TC) to, uchar *shared, const float (*sums)[NT][4], int m0, int n0, int rows, int columns,
                   int stride, bool aligned, int warp, int lane, F finish) {
    float *stage = (float *)(shared + warp * RowStage<STAGE_COLUMNS>::BYTES);
    UNROLL for (int i = 0; i < MT; i++)
        UNROLL for (int j = 0; j < NT; j += STAGE_COLUMNS / 8)
            store_rows<STAGE_COLUMNS>(to, stage, sums[i] + j, m0 + 16 * i, n0 + 8 * j, rows, columns, stride, aligned,
                                      lane, finish);
}
