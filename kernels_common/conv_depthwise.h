/* One thread sums one channel of ROWS output pixels; neighbours in a group are neighbouring channels. */
KERNEL_ENTRY {
    const int pixels = OD * OH * OW, rows = N * pixels, multiplier = OC / C;
    for (int channel = group_id(1) * 32 + local_id(1); channel < OC; channel += group_count(1) * 32) {
        for (int r = 0; r < ROWS; r++) {
            const int m = group_id(0) * ROWS + r;
            if (m < rows) {
                const int q = m / OW, qh = q / OH, b = qh / OD;
                const int iw0 = (m - q * OW) * sw - pw, ih0 = (q - qh * OH) * sh - ph, id0 = (qh - b * OD) * sd - pd;
                ACC_r sum = (ACC_r)0;
                int at = channel;
                for (int kd = 0; kd < KD; kd++) {
                    for (int kh = 0; kh < KH; kh++) {
                        for (int kw = 0; kw < KW; kw++, at += OC) {
                            const int id = id0 + kd * dd, ih = ih0 + kh * dh, iw = iw0 + kw * dw;
                            if (id >= 0 && id < D && ih >= 0 && ih < H && iw >= 0 && iw < W)
                                sum += (ACC_r)TA_load(x, x_off + (((b * D + id) * H + ih) * W + iw) * x_ld + channel / multiplier) *
                                       (ACC_r)TB_load(w, at);
                        }
                    }
                }
                TC_store(y, y_off + m * y_ld + channel, EPILOGUE(sum, b, m - b * pixels, channel));
            }
        }
    }
}
