/* Convolution as an implicit matrix product on tensor cores (sm_80).  No matrix is formed: pixels are copied into
 * shared memory from where they lie, GATHER channels at a time, zeros where there is padding, STAGES - 1 tiles ahead of
 * the products.  A thread copies the same place along the depth for several rows.  TRANSPOSED: a block computes pixels
 * of one phase of a transposed convolution, see conv_phase.cuh.  Limits: a1400/kernels/conv_tensor.py. */
#include "tensor_cores.cuh"
#include "tensor_tile.cuh"
#define B_ALONG_N 1
#define ROUNDED 0
#include "gemm_tensor.cuh"
#include "gemm_tensor_warp.cuh"
#include "conv_gather.cuh"
#include "conv_phase.cuh"

#define STAGE_BYTES (A_TILE_BYTES + B_TILE_BYTES)
#define COLUMN_UNITS (BN / UNIT_ELEMENTS)
#define PARTS (BK / GATHER)           /* copies that make a row of A */
#define ROW_STEP (THREADS / PARTS)
#define COPIES (BM / ROW_STEP)        /* of a thread, for a tile of A */
#define B_STEP (THREADS / COLUMN_UNITS)
#define GATHER_BYTES (GATHER * TA_bytes)
#define SINGLE (GATHER_BYTES == 2)    /* too small for cp.async: passes through registers */
#if TA_bytes == 4
#define B_UNIT tile_unit_f32_rows<COLUMN_UNITS>
#else
#define B_UNIT tile_unit<COLUMN_UNITS>
#endif

static_assert(THREADS % PARTS == 0 && BM % ROW_STEP == 0, "threads share the rows of A evenly");
static_assert(THREADS % COLUMN_UNITS == 0 && BK % B_STEP == 0, "threads share the rows of B evenly");

KERNEL_ENTRY {
    DYNAMIC_SHARED(shared);
    Pixel *pixels_of = (Pixel *)(shared + STAGES * STAGE_BYTES);
    const int thread = local_id(0), lane = thread & 31, warp = thread >> 5;
    const int cg = C / groups, columns = OC / groups, panels = (columns + 31) / 32, panel_rows = KD * KH * KW * cg;
    const int pixels = OD * OH * OW;
#if TRANSPOSED
    const int g = group_id(2) / (sd * sh * sw);
    const Phase phase = PHASE(group_id(2) - g * sd * sh * sw);
    const ConvShape shape = PHASE_SHAPE(phase, g, cg);
    const int depth = phase.d.taps * phase.h.taps * phase.w.taps * cg, rows_before = TAPS_BEFORE(phase) * cg;
#else
    const int g = group_id(2), depth = panel_rows, rows_before = 0;
    const ConvShape shape = CONV_SHAPE(g, cg);
#endif
    const int tiles = (depth + BK - 1) / BK;
    const int tiles_m = (shape.rows + BM - 1) / BM, tiles_n = (columns + BN - 1) / BN;
    if (group_id(0) >= tiles_m * tiles_n) return; /* other phases have more pixels */
    int tile_m, tile_n;
    tile_of(group_id(0), tiles_m, tiles_n, &tile_m, &tile_n);
    const int m0 = tile_m * BM, n0 = tile_n * BN;

    for (int i = thread; i < BM; i += THREADS) pixels_of[i] = pixel_of(shape, m0 + i);
    const int part = thread % PARTS, first_row = thread / PARTS;
    DepthPlace place = {}; /* that this thread copies */
    go_on(place, shape, part * GATHER);

    /* B: one unit of columns, every B_STEP-th row */
    const int b_unit = thread % COLUMN_UNITS, b_row = thread / COLUMN_UNITS, column = n0 + b_unit * UNIT_ELEMENTS;
    const bool b_inside = column < panels * 32;
    const int panel = g * panels + (b_inside ? column >> 5 : 0);
    GPTR(const TB) b_from = w + (panel * panel_rows + rows_before + b_row) * 32 + (column & 31);
    int b_left = b_inside ? depth - b_row : 0; /* rows of B from this thread's first on */

    local_barrier(); /* the pixels' coordinates are there */
#if GATHER_BYTES == 16
    Pixel mine[COPIES];
    UNROLL for (int i = 0; i < COPIES; i++) mine[i] = pixels_of[first_row + i * ROW_STEP];
#endif
#if SINGLE
    ushort held[COPIES];
#endif

    /* starts the copies of the next tile into a stage; single elements wait in registers */
    auto fetch = [&](int stage) {
        uchar *tile = shared + stage * STAGE_BYTES;
        UNROLL for (int i = 0; i < COPIES; i++) {
            const int row = first_row + i * ROW_STEP;
#if GATHER_BYTES == 16
            const Pixel p = mine[i];
#else
            const Pixel p = pixels_of[row];
#endif
            const bool inside = place.k < depth && inside_image(shape, p, place);
#if SINGLE
            held[i] = inside ? ((GPTR(const ushort))x)[p.element + place.ahead] : (ushort)0;
#else
            const int byte = part * GATHER_BYTES;
            cp_async<GATHER_BYTES>(tile + tile_unit<DEPTH_UNITS>(row, byte >> 4) * 16 + (byte & 15),
                                   x + (inside ? p.element + place.ahead : 0), inside);
#endif
        }
        UNROLL for (int i = 0; i < BK / B_STEP; i++) {
            const bool inside = i * B_STEP < b_left;
            cp_async<16>(tile + A_TILE_BYTES + B_UNIT(b_row + i * B_STEP, b_unit) * 16,
                         inside ? b_from + i * B_STEP * 32 : w, inside);
        }
        b_from += BK * 32;
        b_left -= BK;
        go_on(place, shape, BK);
    };
    auto put = [&](int stage) {
#if SINGLE
        uchar *tile = shared + stage * STAGE_BYTES;
        const int unit = part / UNIT_ELEMENTS, element = part % UNIT_ELEMENTS;
        UNROLL for (int i = 0; i < COPIES; i++)
            ((ushort *)tile)[tile_unit<DEPTH_UNITS>(first_row + i * ROW_STEP, unit) * 8 + element] = held[i];
#endif
    };

    UNROLL for (int t = 0; t < STAGES - 1; t++) {
        if (t < tiles) {
            fetch(t);
            put(t);
        }
        cp_async_commit();
    }
    const int row = warp % WM * WARP_ROWS, first_column = warp / WM * WARP_COLUMNS;
    float sums[MT][NT][4] = {};
    int stage = 0, next = STAGES - 1;
    for (int t = 0; t < tiles; t++) {
        cp_async_wait<STAGES - 2>();
        local_barrier(); /* this tile is here for all, and nobody reads the one before, whose place the next takes */
        const bool more = t + STAGES - 1 < tiles;
        if (more) fetch(next);
        cp_async_commit();
        const uchar *ta = shared + stage * STAGE_BYTES;
        multiply_tiles(sums, ta, ta + A_TILE_BYTES, row, first_column, lane);
        if (more) put(next);
        stage = stage + 1 == STAGES ? 0 : stage + 1;
        next = next + 1 == STAGES ? 0 : next + 1;
    }
    local_barrier(); /* every tile has come and is read: their memory now holds sums */
    const int channel_0 = g * columns;
    const bool aligned = ((y_off | y_ld | channel_0) & (16 / TC_bytes - 1)) == 0;
#if TRANSPOSED
    auto output = [&](int m) { return output_pixel(phase, m, sd, sh, sw, OH, OW); };
    float *rows = (float *)(shared + warp * RowStage<STAGE_COLUMNS>::BYTES);
    UNROLL for (int i = 0; i < MT; i++)
        UNROLL for (int j = 0; j < NT; j += STAGE_COLUMNS / 8)
            store_rows_at<STAGE_COLUMNS>(
                y + (y_off + channel_0), rows, sums[i] + j, m0 + row + 16 * i, n0 + first_column + 8 * j, shape.rows,
                columns, [&](int m) { return (output(m).image * pixels + output(m).pixel) * y_ld; }, aligned, lane,
                [&](float v, int m, int n) { return EPILOGUE(v, output(m).image, output(m).pixel, channel_0 + n); });
#else
    store_sums(y + (y_off + channel_0), shared, sums, m0 + row, n0 + first_column, shape.rows, columns, y_ld, aligned,
               warp, lane, [&](float v, int m, int n) {
                   const int image = m / pixels;
                   return EPILOGUE(v, image, m - image * pixels, channel_0 + n);
               });
#endif
}
