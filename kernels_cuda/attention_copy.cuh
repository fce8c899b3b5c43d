/* Rows of 16-bit elements between global memory and the tiles of tensor_tile.cuh, whatever their alignment. */

#define NO_UNROLL _Pragma("unroll 1")

/* How many bytes can be copied at once from rows that start `stride` elements apart: 16, 4 or 2. */
FN int copy_step(const T *from, int stride, int columns) {
    const uint low = (uint)(ulong)from | (uint)stride * 2 | (uint)columns * 2;
    return low % 16 == 0 ? 16 : (low % 4 == 0 ? 4 : 2);
}

/* ROWS rows to a tile, zeros outside [0, rows) x [0, columns); there after cp_async_wait and a barrier. */
template <int UNITS_OF_ROW, int ROWS, int COUNT>
FN void copy_rows(uchar *tile, const T *from, int stride, int rows, int columns, int step, int tid) {
    if (step == 16) {
        static_assert(COUNT % UNITS_OF_ROW == 0 && ROWS * UNITS_OF_ROW % COUNT == 0, "all threads copy alike");
        const int r0 = tid / UNITS_OF_ROW, u = tid % UNITS_OF_ROW, skip = COUNT / UNITS_OF_ROW;
        const T *at = from + (long)r0 * stride + u * 8;
        if (u * 8 < MAX_D)
            UNROLL for (int r = r0, i = 0; i < ROWS / skip; i++, r += skip, at += skip * stride)
                cp_async<16>(tile + tile_unit<UNITS_OF_ROW>(r, u) * 16, at, r < rows && u * 8 < columns);
    } else if (step == 4) {
        NO_UNROLL for (int e = tid; e < ROWS * UNITS_OF_ROW * 4; e += COUNT) {
            const int r = e / (UNITS_OF_ROW * 4), c = e % (UNITS_OF_ROW * 4) * 2;
            const bool valid = r < rows && c < columns;
            cp_async<4>(
                tile + tile_unit<UNITS_OF_ROW>(r, c / 8) * 16 + c % 8 * 2, from + (long)r * stride + c, valid);
        }
    } else {
        NO_UNROLL for (int e = tid; e < ROWS * UNITS_OF_ROW * 8; e += COUNT) {
            const int r = e / (UNITS_OF_ROW * 8), c = e % (UNITS_OF_ROW * 8);
            const bool valid = r < rows && c < columns;
            *(ushort *)(tile + tile_unit<UNITS_OF_ROW>(r, c / 8) * 16 + c % 8 * 2) =
                valid ? ((const ushort *)from)[(long)r * stride + c] : (ushort)0;
        }
    }
}

/* `count` rows of a tile from `row` on to memory, by one warp; those from `rows` on are not written. */
template <int UNITS_OF_ROW>
FN void store_rows(T *to, int stride, int rows, int columns, const uchar *tile, int row, int count, int lane) {
    if (copy_step(to, stride, columns) == 16) {
        for (int e = lane; e < min(rows, count) * UNITS_OF_ROW; e += 32) {
            const int r = e / UNITS_OF_ROW, u = e % UNITS_OF_ROW;
            if (u * 8 < columns)
                *(Unit *)(to + (long)r * stride + u * 8) = *(const Unit *)tile_at<UNITS_OF_ROW>(tile, row + r, u);
        }
    } else {
        for (int e = lane; e < min(rows, count) * UNITS_OF_ROW * 8; e += 32) {
            const int r = e / (UNITS_OF_ROW * 8), c = e % (UNITS_OF_ROW * 8);
            if (c < columns)
                ((ushort *)to)[(long)r * stride + c] =
                    *(const ushort *)(tile_at<UNITS_OF_ROW>(tile, row + r, c / 8) + c % 8 * 2);
        }
    }
}
