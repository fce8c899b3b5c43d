/* Transposed convolution as convolutions: outputs whose coordinates agree modulo the stride (a phase) are reached by
 * the same taps, and neighbours among them by neighbouring inputs.  So each phase is a convolution of stride 1 with a
 * part of the taps, which step backwards.  Stands behind conv_gather.cuh. */

/* One dimension of a phase. */
struct PhaseAxis {
    int first, count; /* its outputs: the first, and how many */
    int taps, before; /* its taps, and those of the phases before it */
    int base, step;   /* input under the first output's first tap; from tap to tap */
};
FN PhaseAxis phase_axis(int phase, int out, int kernel, int stride, int pad, int dilation) {
    PhaseAxis a = {((phase - pad) % stride + stride) % stride, 0, 0, 0, 0, 1};
    if (out > a.first) a.count = (out - a.first - 1) / stride + 1;
    int first_tap = 0;
    for (int k = 0; k < kernel; k++) {
        const int of = k * dilation % stride;
        a.before += of < phase;
        if (of != phase) continue;
        if (a.taps == 0) first_tap = k;
        if (a.taps == 1) a.step = (first_tap - k) * dilation / stride;
        a.taps++;
    }
    if (a.taps) a.base = (a.first + pad - first_tap * dilation) / stride;
    return a;
}

struct Phase {
    PhaseAxis d, h, w;
};
#define PHASE(q)                                                                                                      \
    {phase_axis((q) / (sh * sw), OD, KD, sd, pd, dd), phase_axis((q) / sw % sh, OH, KH, sh, ph, dh),  \
     phase_axis((q) % sw, OW, KW, sw, pw, dw)}
#define PHASE_SHAPE(p, g, cg)                                                                                         \
    {D, H, W, p.d.count, p.h.count, p.w.count, 1, 1, 1, -p.d.base, -p.h.base, -p.w.base, p.d.step, p.h.step, p.w.step, \
     p.w.taps * p.w.step, p.h.taps * p.h.step, cg, x_ld, (p.h.step * W - p.w.taps * p.w.step) * x_ld,  \
     (p.d.step * H - p.h.taps * p.h.step) * W * x_ld, x_off + (g) * (cg), N * p.d.count * p.h.count * p.w.count}
/* Taps of all phases that stand before this one's in the packed weights. */
#define TAPS_BEFORE(p) (p.d.before * KH * KW + p.d.taps * (p.h.before * KW + p.h.taps * p.w.before))

/* Of row m of a phase: its image and the output pixel in it. */
struct OutputPixel {
    int image, pixel;
};
FN OutputPixel output_pixel(const Phase &p, int m, int sd, int sh, int sw, int OH, int OW) {
    const int line = m / p.w.count, plane = line / p.h.count, image = plane / p.d.count;
    const int d = p.d.first + (plane - image * p.d.count) * sd, h = p.h.first + (line - plane * p.h.count) * sh;
    OutputPixel o = {image, (d * OH + h) * OW + p.w.first + (m - line * p.w.count) * sw};
    return o;
}
