/* One thread sums one output channel of ROWS output pixels over the taps that reach it.  Taps lie in the order of
 * conv_pack.transpose_tap_order: those of one phase together. */

/* taps k < count of one dimension with k * dilation % stride == phase */
FN int phase_taps(int count, int dilation, int stride, int phase) {
    int taps = 0;
    for (int k = 0; k < count; k++) taps += k * dilation % stride == phase;
    return taps;
}

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
                const int ow = m - q * OW + pw, oh = q - qh * OH + ph, od = qh - b * OD + pd;
                const int phase_d = od % sd, phase_h = oh % sh, phase_w = ow % sw;
                int tap = 0; /* taps of the phases before this one */
                for (int p = 0; p < phase_d; p++) tap += phase_taps(KD, dd, sd, p) * KH * KW;
                const int taps_d = phase_taps(KD, dd, sd, phase_d);
                for (int p = 0; p < phase_h; p++) tap += taps_d * phase_taps(KH, dh, sh, p) * KW;
                const int taps_h = phase_taps(KH, dh, sh, phase_h);
                for (int p = 0; p < phase_w; p++) tap += taps_d * taps_h * phase_taps(KW, dw, sw, p);
                ACC_r sum = (ACC_r)0;
                for (int kd = 0; kd < KD; kd++) {
                    if (kd * dd % sd == phase_d) {
                        for (int kh = 0; kh < KH; kh++) {
                            if (kh * dh % sh == phase_h) {
                                for (int kw = 0; kw < KW; kw++) {
                                    if (kw * dw % sw == phase_w) {
                                        const int far_d = od - kd * dd, far_h = oh - kh * dh, far_w = ow - kw * dw;
                                        const int id = far_d / sd, ih = far_h / sh, iw = far_w / sw;
                                        if (far_d >= 0 && id < D && far_h >= 0 && ih < H && far_w >= 0 && iw < W) {
                                            const int source = x_off + (((b * D + id) * H + ih) * W + iw) * x_ld + g * cg;
                                            for (int c = 0; c < cg; c++)
                                                sum += (ACC_r)TA_load(x, source + c) *
                                                       (ACC_r)TB_load(w, panel + (tap * cg + c) * 32);
                                        }
                                        tap++;
                                    }
                                }
                            }
                        }
                    }
                }
                TC_store(y, y_off + m * y_ld + channel, EPILOGUE(sum, b, m - b * pixels, channel));
            }
        }
    }
}
