/* Depthwise convolution with kernels TAPS_W wide, strides of STEP_W and no dilation along lines: 16 channels of TILE
 * outputs side by side (at most 7) make a tile, whose sums stay in registers.  Each vector of input is loaded once per
 * kernel row and goes into all sums that it has a tap for.
 *
 * Places are pointers and long strides: sums of ints would be extended to 64 bits once per vector. */
#define COLUMNS ((TILE - 1) * STEP_W + TAPS_W)
#define SUMS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6)
/* a column of input, and the sums that have a tap for it */
#define TERM(o, j)                                                                                            \
    if ((o) < TILE && (j) >= (o) * STEP_W && (j) < (o) * STEP_W + TAPS_W)                                     \
        s##o = fma(v, k[((j) - (o) * STEP_W) & 7], s##o);
#define COLUMN(j)                                                                                             \
    if ((j) < COLUMNS && (whole || (present >> (j) & 1))) {                                                   \
        const float16 v = TA_load_v(at, (j) * x_step);                                                        \
        TERM(0, j) TERM(1, j) TERM(2, j) TERM(3, j) TERM(4, j) TERM(5, j) TERM(6, j)                          \
    }
#define ALL_COLUMNS                                                                                           \
    COLUMN(0) COLUMN(1) COLUMN(2) COLUMN(3) COLUMN(4) COLUMN(5) COLUMN(6) COLUMN(7) COLUMN(8) COLUMN(9)        \
    COLUMN(10) COLUMN(11) COLUMN(12) COLUMN(13) COLUMN(14) COLUMN(15) COLUMN(16) COLUMN(17) COLUMN(18)
#define TAP(i) if ((i) < TAPS_W) k[i] = TB_load_v(tap, (i) * channels);
#define DECLARE(o) float16 s##o = 0.0f;
#define STORE(o) if ((o) < count) TC_store_v(out, (o) * y_step, EPILOGUE_V(s##o, b, m + (o), c));
#define KERNEL_ROWS(WHOLE)                                                                                    \
    {                                                                                                         \
        const int whole = WHOLE;                                                                              \
        for (int kd = d0; kd < d1; kd++) {                                                                    \
            GPTR(const TA) at = source + c + kd * plane_step;                                                 \
            GPTR(const TB) tap = w + (long)((kd * KH + h0) * TAPS_W * C + c);                                 \
            for (int kh = h0; kh < h1; kh++, at += row_step, tap += TAPS_W * channels) {                      \
                float16 k[8];                                                                                 \
                TAP(0) TAP(1) TAP(2) TAP(3) TAP(4) TAP(5) TAP(6)                                              \
                ALL_COLUMNS                                                                                   \
            }                                                                                                 \
        }                                                                                                     \
    }

__attribute__((reqd_work_group_size(1, 1, 1))) KERNEL_ENTRY {
    const int lines = N * OD * OH, lines_each = (lines + group_count(0) - 1) / group_count(0);
    /* fewer than 16 channels are no chunk of their own but end the last one: work-items never share a vector */
    const int chunks = (C + 48) / 64, chunks_each = (chunks + group_count(1) - 1) / group_count(1);
    const int c_begin = group_id(1) * chunks_each * 64;
    const int c_end = group_id(1) + 1 == group_count(1) ? C : c_begin + chunks_each * 64;
    const int line_begin = group_id(0) * lines_each, line_end = min(lines, line_begin + lines_each);
    const long x_step = x_ld, y_step = y_ld, channels = C;
    const long row_step = (long)W * dh * x_step, plane_step = (long)H * W * dd * x_step;

    for (int t = line_begin; t < line_end; t++) {
        const int q = t / OH, b = q / OD;
        const int id = (q - b * OD) * sd - pd, ih = (t - q * OH) * sh - ph;
        const int d0 = id < 0 ? (-id + dd - 1) / dd : 0, h0 = ih < 0 ? (-ih + dh - 1) / dh : 0;
        const int d1 = D - id <= 0 ? 0 : min(KD, (D - id + dd - 1) / dd);
        const int h1 = H - ih <= 0 ? 0 : min(KH, (H - ih + dh - 1) / dh);
        const int line = ((b * D + id) * H + ih + h0 * dh) * W;
        for (int ow = 0; ow < OW; ow += TILE) {
            const int count = min(TILE, OW - ow), iw = ow * STEP_W - pw;
            const int left = clamp(-iw, 0, COLUMNS), right = clamp(W - iw, 0, COLUMNS);
            const uint present = ((1u << right) - 1u) & ~((1u << left) - 1u);
            GPTR(const TA) source = x + (x_off + (line + iw) * x_step);
            const int m = (t - b * OD * OH) * OW + ow;
            GPTR(TC) target = y + (y_off + (long)(t * OW + ow) * y_step);
            for (int c = c_begin; c < c_end; c += 16) {
                c = min(c, c_end - 16); /* once more over a few channels rather than one by one */
                GPTR(TC) out = target + c;
                SUMS(DECLARE)
                if (left == 0 && right == COLUMNS) {
                    KERNEL_ROWS(1)
                } else {
                    KERNEL_ROWS(0)
                }
                SUMS(STORE)
            }
        }
    }
}
