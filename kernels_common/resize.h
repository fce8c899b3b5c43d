KERNEL_ENTRY {
    const int at = group_id(0) * GROUP + local_id(0);
    if (at >= B * OD * OH * OW * C) return;
    const int c = at % C;
    const int pixel = at / C;
    const int ow = pixel % OW;
    const int oh = pixel / OW % OH;
    const int od = pixel / OW / OH % OD;
    const int b = pixel / OW / OH / OD;
    W_r sum = 0;
    if (id[od * TD] < 0 || ih[oh * TH] < 0 || iw[ow * TW] < 0) {
        sum = extrapolation;
    } else {
        for (int kd = 0; kd < TD; kd++) {
            const int plane = x_off + b * x_b + id[od * TD + kd] * x_d;
            for (int kh = 0; kh < TH; kh++) {
                const int row = plane + ih[oh * TH + kh] * x_h;
                const W_r weight = wd[od * TD + kd] * wh[oh * TH + kh];
                for (int kw = 0; kw < TW; kw++)
                    sum += weight * ww[ow * TW + kw] * T_load(x, row + iw[ow * TW + kw] * x_w + c);
            }
        }
    }
    const int m = (od * OH + oh) * OW + ow;
    T_store(y, at, EPILOGUE(sum, b, m, c));
}
