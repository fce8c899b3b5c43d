/* Convolution as a matrix product whose rows are output pixels (of all images) and whose depth runs over taps and
 * channels.  A work-item gathers MR rows of depth KC at a time into a private block - never more of the image-to-column
 * matrix than that exists - and multiplies it with its panels of weights; see conv_micro.clh.  Groups of few channels
 * are gathered several at a time: their channels follow each other in every pixel.
 *
 * Where all channels of neighbouring pixels follow each other (one group, dense pixels, no dilation along W), the
 * taps of one kernel row are one contiguous run: that is what makes pictures of 1 to 4 channels fast. */
#include "conv_micro.clh"
#include "conv_block.clh"

__attribute__((reqd_work_group_size(1, 1, 1))) KERNEL_ENTRY {
    float16 block_vectors[MR * CONV_LD / 16]; /* vectors, so that it is aligned as one */
    float *block = (float *)block_vectors;
    float16 sums[NPC * MR * 2];
    /* of each row: image, input coordinates of tap 0, element of tap 0, whether all taps are inside the image */
    int image[MR], id0[MR], ih0[MR], iw0[MR], origin[MR], inside[MR];
    const int cg = C / groups, columns = OC / groups;
    const int groups_each = (groups + group_count(2) - 1) / group_count(2);
    const int g_begin = group_id(2) * groups_each, g_end = min(groups, g_begin + groups_each);
    const int pixels = OD * OH * OW, all = N * pixels, depth_all = KD * KH * KW * cg;
    const int limit = x_off + (N * D * H * W - 1) * x_ld + C;
    const int merged = groups == 1 && dw == 1 && x_ld == C;
    const int run = merged ? KW * C : cg, runs_w = merged ? 1 : KW; /* length of a run, runs per kernel row */
    const int runs = KD * KH * runs_w;

    const int blocks = (all + MR - 1) / MR, blocks_each = (blocks + group_count(0) - 1) / group_count(0);
    const int panels = (columns + 31) / 32, panels_each = (panels + group_count(1) - 1) / group_count(1);
    const int m_end = min(all, (group_id(0) + 1) * blocks_each * MR);
    const int p_begin = group_id(1) * panels_each, p_end = min(panels, p_begin + panels_each);
    /* steps of depth end between runs, unless a run is longer than a step */
    const int most = max(1, KC / run);
    const int steps = run <= KC ? (runs + most - 1) / most : (depth_all + KC - 1) / KC;
    const int step = run <= KC ? (runs + steps - 1) / steps * run : (depth_all + steps - 1) / steps;
    /* groups gathered at a time */
    const int together = panels > 1 ? 1 : max(1, min(g_end - g_begin, KC / depth_all));
    const int line_step = W * x_ld, tap_step = dw * x_ld, vectors_end = (together * run + 15) & ~15;
    const int reach = ((KD - 1) * dd * H + (KH - 1) * dh) * line_step + (runs_w - 1) * tap_step + vectors_end;

    const int first = group_id(0) * blocks_each * MR;
    int ow = first % OW, oh = first / OW % OH, od = first / (OW * OH) % OD, b = first / pixels;
    for (int m0 = first; m0 < m_end; m0 += MR) {
        const int rows = min(MR, m_end - m0);
        for (int r = 0; r < rows; r++) {
            image[r] = b;
            iw0[r] = ow * sw - pw;
            ih0[r] = oh * sh - ph;
            id0[r] = od * sd - pd;
            origin[r] = x_off + (((b * D + id0[r]) * H + ih0[r]) * W + iw0[r]) * x_ld;
            inside[r] = id0[r] >= 0 && id0[r] + (KD - 1) * dd < D && ih0[r] >= 0 && ih0[r] + (KH - 1) * dh < H &&
                        iw0[r] >= 0 && iw0[r] + (KW - 1) * dw < W && run <= KC &&
                        origin[r] + reach + (g_end - 1) * cg <= limit;
            if (++ow == OW) {
                ow = 0;
                if (++oh == OH) {
                    oh = 0;
                    if (++od == OD) {
                        od = 0;
                        b++;
                    }
                }
            }
        }
        for (int g = g_begin; g < g_end; g += together) {
            const int side = min(together, g_end - g), wide = side * run, k_end = runs * wide; /* groups side by side */
            for (int p0 = p_begin; p0 < p_end; p0 += NPC) {
                for (int k0 = 0, more = 1; more; k0 += step) {
                    const int k1 = side > 1 ? k_end : min(k_end, k0 + step);
                    more = k1 < k_end;
                    if (steps > 1 || p0 == p_begin) {
                        const int run0 = k0 / wide, w0 = run0 % runs_w, line0 = run0 / runs_w;
                        for (int r = 0; r < rows; r++) {
                            int kw = w0, kh = line0 % KH, kd = line0 / KH;
                            float *to = block + r * CONV_LD - k0;
                            if (inside[r]) {
                                int line = origin[r] + g * cg + (kd * dd * H + kh * dh) * line_step;
                                for (int start = k0; start < k1; line += dh * line_step) {
                                    int at = line + kw * tap_step;
                                    for (; kw < runs_w && start < k1; kw++, start += wide, at += tap_step)
                                        for (int i = 0; i < wide; i += 16)
                                            vstore16(TA_load_v(x, at + i), 0, to + start + i);
                                    kw = 0;
                                    if (++kh == KH) {
                                        kh = 0;
                                        kd++;
                                        line += (dd * H - KH * dh) * line_step;
                                    }
                                }
                                continue;
                            }
                            for (int start = run0 * wide; start < k1; start += wide) {
                                const int begin = max(start, k0), end = min(start + wide, k1);
                                const int id = id0[r] + kd * dd, ih = ih0[r] + kh * dh, iw = iw0[r] + kw * dw;
                                if ((uint)id >= (uint)D || (uint)ih >= (uint)H) {
                                    block_zero(to + begin, end - begin);
                                } else {
                                    const int line = origin[r] + g * cg + (kd * dd * H + kh * dh) * line_step;
                                    const int source = line + kw * tap_step;
                                    if (merged) {
                                        block_run(to + begin, x, source, begin - start, end - start, -iw * C, (W - iw) * C,
                                                  limit);
                                    } else if ((uint)iw < (uint)W) {
                                        block_copy(to + begin, x, source + (begin - start), end - begin, limit);
                                    } else {
                                        block_zero(to + begin, end - begin);
                                    }
                                }
                                if (++kw == runs_w) {
                                    kw = 0;
                                    if (++kh == KH) {
                                        kh = 0;
                                        kd++;
                                    }
                                }
                            }
                        }
                    }
                    /* the panels of one group, or the one panel of each of several */
                    const int count = side > 1 ? side : min(p0 + NPC, p_end) - p0;
                    for (int i = 0; i < count; i++) {
                        const int beside = side > 1 ? i : 0, p = side > 1 ? 0 : p0 + i;
                        const int n = p * 32, n_base = (g + beside) * columns;
                        float16 *s = sums + (side > 1 ? 0 : i) * MR * 2;
                        GPTR(const TB) panel = w + (((g + beside) * panels + p) * depth_all + k0) * 32;
                        conv_panel(rows, columns - n, block + beside * run, side > 1 ? runs : 1,
                                   side > 1 ? run : k1 - k0, wide, panel, s, k0 == 0);
                        if (more) continue;
#define FINISH_OUT y
#define ROW_AT(r) (y_off + (m0 + (r)) * y_ld)
#define ROW_B(r) (image[r])
#define ROW_M(r) (m0 + (r) - image[r] * pixels)
#include "conv_finish.clh"
                    }
                }
            }
        }
    }
}
