/* Convolution as an implicit matrix product: where the elements of a tile of its left matrix lie in the input.
 * Rows are output pixels of all images, depth runs over taps and, fastest, the channels of a group. */

/* Of an output pixel: the input element under tap 0, channel 0 (perhaps outside the image), and that tap's place. */
struct alignas(16) Pixel {
    int element, d, h, w;
};

/* A place along the depth: its tap's distances from tap 0, its channel, and its distance in elements. */
struct DepthPlace {
    int k, channel, d, h, w, ahead;
};

struct ConvShape {
    int D, H, W, OD, OH, OW, sd, sh, sw, pd, ph, pw, dd, dh, dw;
    int width, height;   /* dilated kernel sizes: KW * dw, KH * dh */
    int channels, step;  /* of a group; elements from one input pixel to the next */
    int row_jump, plane_jump;
    int start, rows;     /* first element of the group's channels; output pixels of all images */
};
#define CONV_SHAPE(g, cg)                                                                                             \
    {D, H, W, OD, OH, OW, sd, sh, sw, pd, ph, pw, dd, dh, dw, KW * dw, KH * dh, cg, x_ld, (dh * W - KW * dw) * x_ld,  \
     (dd * H - KH * dh) * W * x_ld, x_off + (g) * (cg), N * OD * OH * OW}

/* Divides: once for a row.  Rows behind the last have no tap inside the image. */
FN Pixel pixel_of(const ConvShape &s, int row) {
    const int m = row < s.rows ? row : s.rows - 1;
    const int q = m / s.OW, qh = q / s.OH, b = qh / s.OD;
    Pixel p;
    p.w = (m - q * s.OW) * s.sw - s.pw;
    p.h = (q - qh * s.OH) * s.sh - s.ph;
    p.d = (qh - b * s.OD) * s.sd - s.pd;
    p.element = s.start + (((b * s.D + p.d) * s.H + p.h) * s.W + p.w) * s.step;
    if (row >= s.rows) p.d = -(1 << 30);
    return p;
}

/* Goes on by `distance`; loops over the taps on the way, so never divides. */
FN void go_on(DepthPlace &at, const ConvShape &s, int distance) {
    at.k += distance;
    at.channel += distance;
    at.ahead += distance;
    while (at.channel >= s.channels) {
        at.channel -= s.channels;
        at.ahead += s.dw * s.step - s.channels;
        at.w += s.dw;
        if (at.w == s.width) {
            at.w = 0;
            at.ahead += s.row_jump;
            at.h += s.dh;
            if (at.h == s.height) {
                at.h = 0;
                at.ahead += s.plane_jump;
                at.d += s.dd;
            }
        }
    }
}

/* Whether a pixel's tap lies inside the image. */
FN bool inside_image(const ConvShape &s, const Pixel &p, const DepthPlace &at) {
    return (uint)(p.d + at.d) < (uint)s.D && (uint)(p.h + at.h) < (uint)s.H && (uint)(p.w + at.w) < (uint)s.W;
}
