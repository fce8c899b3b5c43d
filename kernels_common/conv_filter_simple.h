/* One thread sums one element of the filters' gradient over a share of the pixels; any type. */
KERNEL_ENTRY {
    const int panels = w_ld / 32, m = group_id(0) / panels, n = (group_id(0) - m * panels) * 32 + local_id(0);
    const int g = group_id(2) / splits, part = group_id(2) - g * splits;
    const int cg = C / groups, columns = OC / groups, rows = KD * KH * KW * cg;
    const int lines = N * OD * OH, share = lines / splits, first = share * part + min(lines % splits, part);
    const int begin = first * OW, end = (first + share + (part < lines % splits)) * OW;
    const int tap = m / cg, line = tap / KW, kd = line / KH, kh = line - kd * KH, kw = tap - line * KW;
    const int channel = x_off + g * cg + m - tap * cg;
    ACC_r sum = (ACC_r)0;
    if (n < columns) {
        for (int k = begin; k < end; k++) {
            const int q = k / OW, qh = q / OH, b = qh / OD;
            const int iw = (k - q * OW) * sw - pw + kw * dw, ih = (q - qh * OH) * sh - ph + kh * dh;
            const int id = (qh - b * OD) * sd - pd + kd * dd;
            if (id >= 0 && id < D && ih >= 0 && ih < H && iw >= 0 && iw < W)
                sum += (ACC_r)TA_load(x, channel + (((b * D + id) * H + ih) * W + iw) * x_ld) *
                       (ACC_r)TB_load(dy, y_off + k * y_ld + g * columns + n);
        }
    }
    ACC_store(parts, ((part * groups + g) * rows + m) * w_ld + n, sum);
}
