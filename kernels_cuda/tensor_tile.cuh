/* Tiles of operands in shared memory, and what a warp reads of them for mma.  Stands behind tensor_cores.cuh.
 *
 * A tile has rows of UNITS units of 16 bytes, permuted within each 128 bytes so that eight lanes that read a unit of
 * eight rows each, or eight units of a row, find them in different banks.  For rows of 128 bytes it is the pattern that
 * wgmma and bulk copies call 128-byte swizzle, for rows of 64 bytes the 64-byte one; the tile must then begin at a
 * multiple of 1024 bytes.
 * A fragment's two units along the depth are 16 elements of a 16-bit type (m16n8k16) or 8 floats (m16n8k8). */

/* Where unit `unit` of row `row` lies, in units. */
template <int UNITS> FN int tile_unit(int row, int unit) {
    static_assert((UNITS & (UNITS - 1)) == 0, "rows have a power of two of units");
    if (UNITS >= 8) return row * UNITS + (unit ^ (row & 7));
    if (UNITS == 4) return row * 4 + (unit ^ (row >> 1 & 3));
    if (UNITS == 2) return row * 2 + (unit ^ (row >> 2 & 1));
    return row;
}
template <int UNITS> FN const uchar *tile_at(const uchar *tile, int row, int unit) {
    return tile + tile_unit<UNITS>(row, unit) * 16;
}
/* The same for floats whose rows run along N: there a fragment's lanes read two units of four rows. */
template <int UNITS> FN int tile_unit_f32_rows(int row, int unit) {
    static_assert(UNITS >= 8 && (UNITS & (UNITS - 1)) == 0, "rows have a power of two of units, eight at least");
    return row * UNITS + (unit ^ (row & 3) << 1);
}

/* a[4]: 16 rows of A from `row`, two units of depth from `unit`; rows of the tile run along the depth. */
template <int UNITS> FN void fragment_a(uint *a, const uchar *tile, int row, int unit, int lane) {
    ldmatrix_x4(a, tile_at<UNITS>(tile, row + (lane & 15), unit + (lane >> 4)));
}
/* b[4]: two fragments of B, 16 columns from `column`; rows of the tile are columns of B and run along the depth. */
template <int UNITS> FN void fragments_b(uint *b, const uchar *tile, int column, int unit, int lane) {
    ldmatrix_x4(b, tile_at<UNITS>(tile, column + (lane & 7) + (lane >> 4 << 3), unit + (lane >> 3 & 1)));
}
/* b[4]: two fragments of B, 16 columns from unit `unit`, 16 of depth from `k`; 16-bit rows that run along N. */
template <int UNITS> FN void fragments_b_rows(uint *b, const uchar *tile, int k, int unit, int lane) {
    ldmatrix_x4_trans(b, tile_at<UNITS>(tile, k + (lane & 15), unit + (lane >> 4)));
}
/* The same for floats: 16 columns from unit `unit` (four units), 8 of depth from `k`. */
template <int UNITS> FN void fragments_b_rows_f32(uint *b, const uchar *tile, int k, int unit, int lane) {
    const int row = k + (lane & 3), column = lane >> 2;
    UNROLL for (int i = 0; i < 4; i++) {
        const int at = tile_unit_f32_rows<UNITS>(row + (i & 1) * 4, unit + (i >> 1) * 2 + (column >> 2));
        b[i] = ((const uint *)tile)[at * 4 + (column & 3)];
    }
}
/* Floats become what tf32 keeps of them, to nearest. */
template <int COUNT> FN void round_tf32(uint *r) {
    UNROLL for (int i = 0; i < COUNT; i++) r[i] = float_to_tf32(a_bits_to_float(r[i]));
}

/* ---- from sums to rows: a warp's 16 x COLUMNS floats pass through shared memory of its own ------------------------------ */
template <int COLUMNS> struct RowStage {
    static const int STEP = COLUMNS + 8; /* floats from row to row: eight rows' pairs then fall into different banks */
    static const int BYTES = 16 * STEP * 4;
};
/* sums: fragments c[4] of one row of 16 x 8 tiles.  A __syncwarp() must stand between it and the reading of rows. */
template <int COLUMNS> FN void stage_rows(float *stage, const float (*sums)[4], int lane) {
    float *at = stage + (lane >> 2) * RowStage<COLUMNS>::STEP + (lane & 3) * 2;
    UNROLL for (int j = 0; j < COLUMNS / 8; j++) {
        UNROLL for (int h = 0; h < 2; h++) {
            at[h * 8 * RowStage<COLUMNS>::STEP + j * 8] = sums[j][h * 2];
            at[h * 8 * RowStage<COLUMNS>::STEP + j * 8 + 1] = sums[j][h * 2 + 1];
        }
    }
}

/* 16 bytes at once; `to` is a multiple of 16. */
struct alignas(16) Unit {
    uint v[4];
};
FN void store_unit(void *to, const uint *v) {
    Unit u;
    UNROLL for (int i = 0; i < 4; i++) u.v[i] = v[i];
    *(Unit *)to = u;
}
