/* Implicit matrix product: rows are output pixels of all images, depth runs over taps and channels of the group.
 * No matrix is ever formed; each thread finds the pixel behind the element that it loads. */
#include "common/gemm_tile.h"

KERNEL_ENTRY {
    LOCAL_ARRAY(ACC_r, ta, BK * TILE_A_LD);
    LOCAL_ARRAY(ACC_r, tb, BK * TILE_B_LD);
    LOCAL_ARRAY(int, image, BM);
    LOCAL_ARRAY(int, base_d, BM);
    LOCAL_ARRAY(int, base_h, BM);
    LOCAL_ARRAY(int, base_w, BM);
    const int m0 = group_id(0) * BM, n0 = group_id(1) * BN, g = group_id(2), thread = local_id(0);
    const int cg = C / groups, columns = OC / groups, panels = (columns + 31) / 32;
    const int pixels = OD * OH * OW, rows = N * pixels, depth = KD * KH * KW * cg;
    for (int i = thread; i < BM; i += TILE_THREADS) {
        const int m = m0 + i < rows ? m0 + i : rows - 1;
        const int q = m / OW, qh = q / OH, b = qh / OD;
        image[i] = b;
        base_w[i] = (m - q * OW) * sw - pw;
        base_h[i] = (q - qh * OH) * sh - ph;
        base_d[i] = (qh - b * OD) * sd - pd;
    }
    ACC_r sums[RM * RN];
    tile_clear(sums);
    local_barrier();
    for (int k0 = 0; k0 < depth; k0 += BK) {
        /* threads run along channels; the number of threads is a multiple of BK, so a thread keeps its depth */
        const int k = k0 + thread % BK, tap = k / cg, channel = k - tap * cg;
        const int line = tap / KW, kw = tap - line * KW, kd = line / KH, kh = line - kd * KH;
        for (int row = thread / BK; row < BM; row += TILE_THREADS / BK) {
            const int id = base_d[row] + kd * dd, ih = base_h[row] + kh * dh, iw = base_w[row] + kw * dw;
            ACC_r v = (ACC_r)0;
            if (k < depth && m0 + row < rows && id >= 0 && id < D && ih >= 0 && ih < H && iw >= 0 && iw < W)
                v = (ACC_r)TA_load(x, x_off + image[row] * x_n + ((id * H + ih) * W + iw) * x_ld + (g * cg + channel) * x_c);
            ta[thread % BK * TILE_A_LD + row] = v;
        }
        for (int i = thread; i < BN * BK; i += TILE_THREADS) {
            const int column = i % BN, kk = k0 + i / BN, n = n0 + column;
            ACC_r v = (ACC_r)0;
            if (n < columns && kk < depth) v = (ACC_r)TB_load(w, ((g * panels + n / 32) * depth + kk) * 32 + n % 32);
            tb[i / BN * TILE_B_LD + column] = v;
        }
        local_barrier();
        tile_multiply(ta, tb, sums);
        local_barrier();
    }
    for (int i = 0; i < RM; i++) {
        const int row = TILE_ROW(i), m = m0 + row;
        for (int j = 0; j < RN; j++) {
            const int n = n0 + TILE_COLUMN(j), channel = g * columns + n;
            if (m < rows && n < columns)
                TC_store(y, y_off + m * y_ld + channel,
                         EPILOGUE(sums[i * RN + j], image[row], m - image[row] * pixels, channel));
        }
    }
}
