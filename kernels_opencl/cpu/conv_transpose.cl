/* Transposed convolution, phase by phase: the outputs of one phase are the rows of a matrix product whose depth runs
 * over the taps of that phase and the channels; see conv.cl and conv_micro.clh. */
#include "conv_micro.clh"
#include "conv_block.clh"

/* taps k < count of one dimension with k * dilation % stride == phase */
FN int phase_taps(int count, int dilation, int stride, int phase) {
    int taps = 0;
    for (int k = 0; k < count; k++) taps += k * dilation % stride == phase;
    return taps;
}

/* the first tap at or after k of a phase; count when there is none */
FN int phase_tap(int k, int count, int dilation, int stride, int phase) {
    while (k < count && k * dilation % stride != phase) k++;
    return k;
}

__attribute__((reqd_work_group_size(1, 1, 1))) KERNEL_ENTRY {
    int row[MR];
    const int no_tap = 0;
    for (int r = 0; r < MR; r++) row[r] = r * CONV_LD;
    float16 block_vectors[MR * CONV_LD / 16]; /* vectors, so that it is aligned as one */
    float *block = (float *)block_vectors;
    float16 sums[NPC * MR * 2];
    int image[MR], pixel[MR], fd[MR], fh[MR], fw[MR]; /* of each row: image, output pixel, its coordinates + pads */
    const int cg = C / groups, columns = OC / groups, phases = sd * sh * sw;
    const int g = group_id(2) / phases, phase = group_id(2) - g * phases, n_base = g * columns;
    const int qd = phase / (sh * sw), qh = phase / sw % sh, qw = phase % sw;
    const int pixels = OD * OH * OW;
    const int limit = x_off + (N * D * H * W - 1) * x_ld + C;

    /* first output of the phase and the number of them, in each dimension */
    const int first_d = ((qd - pd) % sd + sd) % sd, first_h = ((qh - ph) % sh + sh) % sh;
    const int first_w = ((qw - pw) % sw + sw) % sw;
    const int nd = OD > first_d ? (OD - first_d - 1) / sd + 1 : 0;
    const int nh = OH > first_h ? (OH - first_h - 1) / sh + 1 : 0;
    const int nw = OW > first_w ? (OW - first_w - 1) / sw + 1 : 0;
    const int all = N * nd * nh * nw;

    const int taps_d = phase_taps(KD, dd, sd, qd), taps_h = phase_taps(KH, dh, sh, qh);
    const int taps_w = phase_taps(KW, dw, sw, qw);
    int before = 0; /* taps of the phases before this one */
    for (int p = 0; p < qd; p++) before += phase_taps(KD, dd, sd, p) * KH * KW;
    for (int p = 0; p < qh; p++) before += taps_d * phase_taps(KH, dh, sh, p) * KW;
    for (int p = 0; p < qw; p++) before += taps_d * taps_h * phase_taps(KW, dw, sw, p);
    const int depth_all = taps_d * taps_h * taps_w * cg;

    const int blocks = (all + MR - 1) / MR, blocks_each = (blocks + group_count(0) - 1) / group_count(0);
    const int panels = (columns + 31) / 32, panels_each = (panels + group_count(1) - 1) / group_count(1);
    const int m_end = min(all, (group_id(0) + 1) * blocks_each * MR);
    const int p_begin = group_id(1) * panels_each, p_end = min(panels, p_begin + panels_each);
    const int steps = max(1, (depth_all + KC - 1) / KC), step = (depth_all + steps - 1) / steps;

    for (int m0 = group_id(0) * blocks_each * MR; m0 < m_end; m0 += MR) {
        const int rows = min(MR, m_end - m0);
        for (int r = 0; r < rows; r++) {
            const int m = m0 + r, line = m / nw, plane = line / nh, b = plane / nd;
            const int od = first_d + (plane - b * nd) * sd, oh = first_h + (line - plane * nh) * sh;
            const int ow = first_w + (m - line * nw) * sw;
            image[r] = b;
            pixel[r] = (od * OH + oh) * OW + ow;
            fd[r] = od + pd;
            fh[r] = oh + ph;
            fw[r] = ow + pw;
        }
        for (int r = rows; r < MR; r++) block_zero(block + r * CONV_LD, KC); /* narrow panels compute all rows */
        for (int p0 = p_begin; p0 < p_end; p0 += NPC) {
            for (int k0 = 0, more = 1; more; k0 += step) {
                const int k1 = min(depth_all, k0 + step);
                more = k1 < depth_all;
                if (steps > 1 || p0 == p_begin) {
                    int start = 0;
                    for (int kd = phase_tap(0, KD, dd, sd, qd); kd < KD; kd = phase_tap(kd + 1, KD, dd, sd, qd)) {
                        for (int kh = phase_tap(0, KH, dh, sh, qh); kh < KH; kh = phase_tap(kh + 1, KH, dh, sh, qh)) {
                            for (int kw = phase_tap(0, KW, dw, sw, qw); kw < KW; kw = phase_tap(kw + 1, KW, dw, sw, qw)) {
                                const int begin = max(start, k0), end = min(start + cg, k1), tap = start;
                                start += cg;
                                if (begin >= end) continue;
                                for (int r = 0; r < rows; r++) {
                                    const int far_d = fd[r] - kd * dd, far_h = fh[r] - kh * dh, far_w = fw[r] - kw * dw;
                                    const int id = far_d / sd, ih = far_h / sh, iw = far_w / sw;
                                    float *to = block + r * CONV_LD + (begin - k0);
                                    if (far_d >= 0 && id < D && far_h >= 0 && ih < H && far_w >= 0 && iw < W) {
                                        const int at = x_off + (((image[r] * D + id) * H + ih) * W + iw) * x_ld + g * cg;
                                        block_copy(to, x, at + (begin - tap), end - begin, limit);
                                    } else {
                                        block_zero(to, end - begin);
                                    }
                                }
                            }
                        }
                    }
                }
                for (int p = p0; p < min(p0 + NPC, p_end); p++) {
                    const int n = p * 32;
                    float16 *s = sums + (p - p0) * MR * 2;
                    GPTR(const TB) panel = w + ((g * panels + p) * KD * KH * KW * cg + before * cg + k0) * 32;
                    conv_panel(rows, columns - n, block, row, 1, k1 - k0, &no_tap, &no_tap, panel, 1, s, k0 == 0);
                    if (more) continue;
#define FINISH_OUT y
#define ROW_AT(r) (y_off + (image[r] * pixels + pixel[r]) * y_ld)
#define ROW_B(r) (image[r])
#define ROW_M(r) (pixel[r])
#include "conv_finish.clh"
                }
            }
        }
    }
}
