/* One thread sums one output channel of ROWS output pixels over the taps that reach it; w[panels][C][32] holds a column
 * for each tap (in natural order) and output channel. */
KERNEL_ENTRY {
    const int pixels = OD * OH * OW, rows = N * pixels;
    for (int channel = group_id(1) * 32 + local_id(1); channel < OC; channel += group_count(1) * 32) {
        for (int r = 0; r < ROWS; r++) {
            const int m = group_id(0) * ROWS + r;
            if (m < rows) {
                const int q = m / OW, qh = q / OH, b = qh / OD;
                const int ow = m - q * OW + pw, oh = q - qh * OH + ph, od = qh - b * OD + pd;
                ACC_r sum = (ACC_r)0;
                for (int tap = 0; tap < KD * KH * KW; tap++) {
                    const int far_d = od - tap / (KH * KW) * dd, far_h = oh - tap / KW % KH * dh;
                    const int far_w = ow - tap % KW * dw, id = far_d / sd, ih = far_h / sh, iw = far_w / sw;
                    if (far_d >= 0 && far_h >= 0 && far_w >= 0 && id * sd == far_d && ih * sh == far_h &&
                        iw * sw == far_w && id < D && ih < H && iw < W) {
                        const int source = x_off + (((b * D + id) * H + ih) * W + iw) * x_ld;
                        const int n = tap * OC + channel, column = n / 32 * C * 32 + n % 32;
                        for (int c = 0; c < C; c++)
                            sum += (ACC_r)TA_load(x, source + c) * (ACC_r)TB_load(w, column + c * 32);
                    }
                }
                TC_store(y, y_off + m * y_ld + channel, EPILOGUE(sum, b, m - b * pixels, channel));
            }
        }
    }
}
