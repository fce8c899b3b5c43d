/* One thread sums one tap of one channel over a share of the pixels; neighbours along channels. */
KERNEL_ENTRY {
    const int n = group_id(0) * 32 + local_id(0), tap = group_id(1), part = group_id(2);
    const int lines = N * OD * OH, share = lines / splits, first = share * part + min(lines % splits, part);
    const int begin = first * OW, end = (first + share + (part < lines % splits)) * OW;
    const int line = tap / KW, kd = line / KH, kh = line - kd * KH, kw = tap - line * KW;
    if (n < OC) {
        const int c = n / (OC / C);
        ACC_r sum = (ACC_r)0;
        for (int k = begin; k < end; k++) {
            const int q = k / OW, qh = q / OH, b = qh / OD;
            const int iw = (k - q * OW) * sw - pw + kw * dw, ih = (q - qh * OH) * sh - ph + kh * dh;
            const int id = (qh - b * OD) * sd - pd + kd * dd;
            if (id >= 0 && id < D && ih >= 0 && ih < H && iw >= 0 && iw < W)
                sum += (ACC_r)TA_load(x, x_off + (((b * D + id) * H + ih) * W + iw) * x_ld + c) *
                       (ACC_r)TB_load(dy, y_off + k * y_ld + n);
        }
        ACC_store(parts, (part * KD * KH * KW + tap) * OC + n, sum);
    }
}
