/* Convolution of 8-bit integers as an implicit matrix product: rows are output pixels, depth runs over taps and channels
 * of the group.  A block of rows is gathered from the image as it is widened. */
#include "bytes_micro.clh"

/* depth elements of the row of output pixel m, from k0 on */
FN void gather_row(bytes_wide *to, GPTR(const TA) x, int m, int k0, int depth, int g, int cg, int D, int H, int W, int OD,
                   int OH, int OW, int KH, int KW, int sd, int sh, int sw, int pd, int ph, int pw, int dd, int dh,
                   int dw, int x_n, int x_ld) {
    const int q = m / OW, qh = q / OH, b = qh / OD;
    const int iw0 = (m - q * OW) * sw - pw, ih0 = (q - qh * OH) * sh - ph, id0 = (qh - b * OD) * sd - pd;
    for (int k = 0; k < depth;) {
        const int tap = (k0 + k) / cg, channel = k0 + k - tap * cg, count = min(cg - channel, depth - k);
        const int line = tap / KW, kw = tap - line * KW, kd = line / KH, kh = line - kd * KH;
        const int id = id0 + kd * dd, ih = ih0 + kh * dh, iw = iw0 + kw * dw;
        if (id >= 0 && id < D && ih >= 0 && ih < H && iw >= 0 && iw < W)
            bytes_widen(to + k, x + (b * x_n + ((id * H + ih) * W + iw) * x_ld + g * cg + channel), count);
        else
            for (int i = 0; i < count; i++) to[k + i] = 0;
        k += count;
    }
    if (depth % 2) to[depth] = 0;
}

__attribute__((reqd_work_group_size(1, 1, 1))) KERNEL_ENTRY {
    bytes_wide block[BYTES_MR * BYTES_LD];
    int sums[NPC * BYTES_MR * 32];
    const int g = group_id(2), cg = C / groups, columns = OC / groups, panels = (columns + 31) / 32;
    const int pixels = OD * OH * OW, rows_all = N * pixels, K = KD * KH * KW * cg;
    const int blocks = (rows_all + BYTES_MR - 1) / BYTES_MR, wide = bytes_panels(K);
    const int m_end = min(rows_all, bytes_end(0, blocks) * BYTES_MR), p_end = bytes_end(1, panels);
    for (int p0 = bytes_begin(1, panels); p0 < p_end; p0 += wide) {
        const int p_stop = min(p0 + wide, p_end);
        for (int m0 = bytes_begin(0, blocks) * BYTES_MR; m0 < m_end; m0 += BYTES_MR) {
            const int rows = min(BYTES_MR, m_end - m0);
            for (int i = 0; i < (p_stop - p0) * BYTES_MR * 4; i++) vstore8((int8)(0), i, sums);
            for (int k0 = 0; k0 < K; k0 += KC) {
                const int depth = min(KC, K - k0);
                for (int r = 0; r < BYTES_MR; r++)
                    gather_row(block + r * BYTES_LD, x + x_off, m0 + min(r, rows - 1), k0, depth, g, cg, D,
                               H, W, OD, OH, OW, KH, KW, sd, sh, sw, pd, ph, pw, dd, dh, dw, x_n, x_ld);
                for (int p = p0; p < p_stop; p++)
                    bytes_micro(block, w + ((g * panels + p) * K + k0) * 32, depth, sums + (p - p0) * BYTES_MR * 32);
            }
            for (int p = p0; p < p_stop; p++) {
                for (int r = 0; r < rows; r++) {
                    const int *s = sums + ((p - p0) * BYTES_MR + r) * 32;
                    const int m = m0 + r, b = m / pixels, n_end = min(columns, p * 32 + 32);
                    const int at = y_off + m * y_ld + g * columns;
                    int n = p * 32;
                    for (; n + 16 <= n_end; n += 16)
                        TC_store_v(y, at + n, EPILOGUE_V(vload16(0, s + n - p * 32), b, m - b * pixels, g * columns + n));
                    for (; n < n_end; n++)
                        TC_store(y, at + n, EPILOGUE(s[n - p * 32], b, m - b * pixels, g * columns + n));
                }
            }
        }
    }
}
