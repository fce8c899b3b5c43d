/* Implicit matrix product: rows are taps of input channels, columns output channels, the depth runs over a share of the
 * pixels of all images.  No matrix is ever formed; threads load along channels. */
#include "common/gemm_tile.h"

KERNEL_ENTRY {
    LOCAL_ARRAY(ACC_r, ta, BK * TILE_A_LD);
    LOCAL_ARRAY(ACC_r, tb, BK * TILE_B_LD);
    LOCAL_ARRAY(int, image, BK);
    LOCAL_ARRAY(int, base_d, BK);
    LOCAL_ARRAY(int, base_h, BK);
    LOCAL_ARRAY(int, base_w, BK);
    LOCAL_ARRAY(int, tap_d, BM);
    LOCAL_ARRAY(int, tap_h, BM);
    LOCAL_ARRAY(int, tap_w, BM);
    LOCAL_ARRAY(int, channel, BM);
    const int m0 = group_id(0) * BM, n0 = group_id(1) * BN, thread = local_id(0);
    const int g = group_id(2) / splits, part = group_id(2) - g * splits;
    const int cg = C / groups, columns = OC / groups, rows = KD * KH * KW * cg;
    const int lines = N * OD * OH, share = lines / splits, first = share * part + min(lines % splits, part);
    const int begin = first * OW, end = (first + share + (part < lines % splits)) * OW;
    for (int i = thread; i < BM; i += TILE_THREADS) {
        const int m = m0 + i < rows ? m0 + i : rows - 1, tap = m / cg, line = tap / KW, kd = line / KH;
        channel[i] = x_off + g * cg + m - tap * cg;
        tap_w[i] = (tap - line * KW) * dw;
        tap_h[i] = (line - kd * KH) * dh;
        tap_d[i] = kd * dd;
    }
    ACC_r sums[RM * RN];
    tile_clear(sums);
    for (int k0 = begin; k0 < end; k0 += BK) {
        for (int i = thread; i < BK; i += TILE_THREADS) {
            const int k = k0 + i < end ? k0 + i : end - 1, q = k / OW, qh = q / OH, b = qh / OD;
            image[i] = b;
            base_w[i] = (k - q * OW) * sw - pw;
            base_h[i] = (q - qh * OH) * sh - ph;
            base_d[i] = (qh - b * OD) * sd - pd;
        }
        local_barrier();
        for (int i = thread; i < BM * BK; i += TILE_THREADS) {
            const int row = i % BM, depth = i / BM;
            const int id = base_d[depth] + tap_d[row], ih = base_h[depth] + tap_h[row], iw = base_w[depth] + tap_w[row];
            ACC_r v = (ACC_r)0;
            if (m0 + row < rows && k0 + depth < end && id >= 0 && id < D && ih >= 0 && ih < H && iw >= 0 && iw < W)
                v = (ACC_r)TA_load(x, channel[row] + (((image[depth] * D + id) * H + ih) * W + iw) * x_ld);
            ta[depth * TILE_A_LD + row] = v;
        }
        for (int i = thread; i < BN * BK; i += TILE_THREADS) {
            const int column = i % BN, depth = i / BN, n = n0 + column;
            ACC_r v = (ACC_r)0;
            if (n < columns && k0 + depth < end) v = (ACC_r)TB_load(dy, y_off + (k0 + depth) * y_ld + g * columns + n);
            tb[depth * TILE_B_LD + column] = v;
        }
        local_barrier();
        tile_multiply(ta, tb, sums);
        local_barrier();
    }
    for (int i = 0; i < RM; i++) {
        const int m = m0 + TILE_ROW(i);
        for (int j = 0; j < RN; j++) {
            const int n = n0 + TILE_COLUMN(j);
            if (m < rows && n < w_ld) ACC_store(parts, ((part * groups + g) * rows + m) * w_ld + n, sums[i * RN + j]);
        }
    }
}
