/* One thread sums one output channel of ROWS output pixels; any type. */
KERNEL_ENTRY {
    const int cg = C / groups, columns = OC / groups, panels = (columns + 31) / 32;
    const int pixels = OD * OH * OW, rows = N * pixels, depth = KD * KH * KW * cg;
    for (int channel = group_id(1) * 32 + local_id(1); channel < OC; channel += group_count(1) * 32) {
        const int g = channel / columns, n = channel - g * columns;
        const int panel = (g * panels + n / 32) * depth * 32 + n % 32;
        for (int r = 0; r < ROWS; r++) {
            const int m = group_id(0) * ROWS + r;
            if (m < rows) {
                const int q = m / OW, qh = q / OH, b = qh / OD;
                const int iw0 = (m - q * OW) * sw - pw, ih0 = (q - qh * OH) * sh - ph, id0 = (qh - b * OD) * sd - pd;
                ACC_r sum = (ACC_r)0;
                int at = panel;
                for (int kd = 0; kd < KD; kd++) {
                    for (int kh = 0; kh < KH; kh++) {
                        for (int kw = 0; kw < KW; kw++, at += cg * 32) {
                            const int id = id0 + kd * dd, ih = ih0 + kh * dh, iw = iw0 + kw * dw;
                            if (id >= 0 && id < D && ih >= 0 && ih < H && iw >= 0 && iw < W) {
                                const int source = x_off + b * x_n + ((id * H + ih) * W + iw) * x_ld + g * cg * x_c;
                                for (int c = 0; c < cg; c++)
                                    sum += (ACC_r)TA_load(x, source + c * x_c) * (ACC_r)TB_load(w, at + c * 32);
                            }
                        }
                    }
                }
                TC_store(y, y_off + m * y_ld + channel, EPILOGUE(sum, b, m - b * pixels, channel));
            }
        }
    }
}
