/* Convolution as a matrix product whose rows are output pixels (of all images) and whose depth runs over taps and
 * channels.  A work-item brings the inputs of MR outputs into a private block and multiplies it with its panels of
 * weights; see conv_micro.clh.
 *
 * Where neighbouring outputs share inputs, the block holds patches of the image: for each line of outputs, the
 * pixels that its taps reach, zeros where they lie outside.  Outputs then begin sw pixels apart in it, and taps are
 * found by their offsets.  It holds a range of channels at a time, or several groups side by side.
 * Where outputs share nothing (sw is as large as the kernel), or a patch is too large, the block holds a row of the
 * image-to-column matrix for each output, KC deep at most - never more of that matrix than this exists.
 *
 * Of an image whose channels lie apart (x_c != 1) patches are planes: a line of pixels for each channel. */
#include "conv_micro.clh"
#include "conv_block.clh"

#define MOST_TAPS 128

__attribute__((reqd_work_group_size(1, 1, 1))) KERNEL_ENTRY {
    float16 block_vectors[MR * CONV_LD / 16]; /* vectors, so that it is aligned as one */
    float *block = (float *)block_vectors;
    float16 sums[NPC * MR * 2];
    /* of each output: place in the block, in pixels of patches and in floats, image, input of tap 0 */
    int place[MR], row[MR], image[MR], id0[MR], ih0[MR], iw0[MR];
    int tap[MOST_TAPS], begin[MOST_TAPS]; /* of runs: their inputs behind a row's first, their weights in a panel */
    const int cg = C / groups, columns = OC / groups, taps = KD * KH * KW, depth = taps * cg;
    const int groups_each = (groups + group_count(2) - 1) / group_count(2);
    const int g_begin = group_id(2) * groups_each, g_end = min(groups, g_begin + groups_each);
    const int pixels = OD * OH * OW, all = N * pixels;
    const int limit = x_off + (N - 1) * x_n + (D * H * W - 1) * x_ld + (C - 1) * x_c + 1;
    const int blocks = (all + MR - 1) / MR, blocks_each = (blocks + group_count(0) - 1) / group_count(0);
    const int panels = (columns + 31) / 32, panels_each = (panels + group_count(1) - 1) / group_count(1);
    const int m_end = min(all, (group_id(0) + 1) * blocks_each * MR);
    const int p_begin = group_id(1) * panels_each, p_end = min(panels, p_begin + panels_each);

    /* patches: pixels of a line of outputs, lines of outputs in a block, floats that the block has for each pixel */
    const int reach = (KW - 1) * dw + 1, across = (min(OW, MR) - 1) * sw + reach;
    const int most_lines = OW % MR == 0 ? 1 : MR % OW == 0 ? MR / OW : min(MR, (MR - 2) / OW + 2);
    const int room = (MR * CONV_LD - 16) / (most_lines * KD * KH * across);
    const int whole = sw <= reach && taps <= MOST_TAPS && room >= cg;
    const int planar = whole && x_c != 1 && x_ld == 1 && groups == 1 && dw == 1 && KD * KH * C <= MOST_TAPS;
    const int patched = planar || (x_c == 1 && (whole || (sw < reach && taps <= MOST_TAPS && room >= 16 && OW >= MR)));
    const int together = patched && whole && panels == 1 ? min(g_end - g_begin, room / cg) : 1; /* groups side by side */
    /* channels at a time: all, or a multiple of 16 */
    const int parts = patched && !whole ? (cg + (room & ~15) - 1) / (room & ~15) : 1;
    const int channels = parts > 1 ? ((cg + parts - 1) / parts + 15) & ~15 : cg;
    /* rows: runs of neighbouring pixels; steps of depth end between them, unless one is longer than a step */
    const int merged = groups == 1 && dw == 1 && x_ld == C && x_c == 1;
    const int run = merged ? KW * C : cg, runs_w = merged ? 1 : KW, runs = KD * KH * runs_w;
    const int most = max(1, KC / run), steps_deep = run <= KC ? (runs + most - 1) / most : (depth + KC - 1) / KC;
    const int deep = run <= KC ? (runs + steps_deep - 1) / steps_deep * run : (depth + steps_deep - 1) / steps_deep;
    const int steps = patched ? (cg + channels - 1) / channels : (depth + deep - 1) / deep;

    const int first_row = group_id(0) * blocks_each * MR;
    int ow = first_row % OW, oh = first_row / OW % OH, od = first_row / (OW * OH) % OD, b = first_row / pixels;
    for (int m0 = first_row; m0 < m_end; m0 += MR) {
        const int rows = min(MR, m_end - m0);
        for (int r = 0, lines = -1, start = 0; r < MR; r++) {
            lines += r == 0 || ow == 0;
            start = r == 0 || ow == 0 ? ow : start;
            image[r] = b;
            iw0[r] = ow * sw - pw;
            ih0[r] = oh * sh - ph;
            id0[r] = od * sd - pd;
            place[r] = r < rows ? lines * KD * KH * across * (planar ? C : 1) + (ow - start) * sw : 0;
            ow++;
            if (r < rows && ow == OW) {
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
            const int side = min(together, g_end - g), wide = side * channels; /* floats of a pixel of patches */
            for (int r = 0; r < MR; r++) row[r] = planar ? place[r] : patched ? place[r] * wide : min(r, rows - 1) * CONV_LD;
            const int lines_whole = patched && whole && !planar && side == 1 && dw == 1; /* taps of a kernel row are one run */
            const int tap_runs = !patched ? 1 : planar ? KD * KH * C : lines_whole ? KD * KH : taps;
            const int length_whole = planar ? KW : lines_whole ? KW * cg : cg;
            /* of planes, runs walk kernel rows and channels in them; else kernel rows, or the taps in them */
            const int inner = planar ? C : lines_whole ? 1 : KW, outer_step = planar ? C * across : across * wide;
            const int inner_step = planar ? across : dw * wide, row_weights = KW * cg, step_weights = planar ? 1 : cg;
            for (int t = 0, i = 0, line = 0; t < tap_runs; t++) {
                tap[t] = line * outer_step + i * inner_step;
                begin[t] = line * row_weights + i * step_weights;
                if (++i == inner) {
                    i = 0;
                    line++;
                }
            }
            for (int p0 = p_begin; p0 < p_end; p0 += NPC) {
                for (int step = 0; step < steps; step++) {
                    const int k0 = patched ? step * channels : step * deep;
                    const int k1 = min(patched ? cg : depth, k0 + (patched ? channels : deep));
                    if ((steps > 1 || p0 == p_begin) && patched) {
                        const int count = side > 1 ? wide : k1 - k0; /* floats of each pixel that are brought */
                        float *to = block;
                        for (int r = 0, r1; r < rows; r = r1) {
                            for (r1 = r + 1; r1 < rows && iw0[r1] == iw0[r1 - 1] + sw;) r1++;
                            const int n = (r1 - r - 1) * sw + reach;
                            const int left = clamp(-iw0[r], 0, n), right = clamp(W - iw0[r], left, n);
                            for (int kd = 0, id = id0[r]; kd < KD; kd++, id += dd) {
                                for (int kh = 0, ih = ih0[r]; kh < KH; kh++, ih += dh, to += across * wide) {
                                    const int at = x_off + image[r] * x_n + ((id * H + ih) * W + iw0[r]) * x_ld + g * cg + k0;
                                    const int inside = (uint)id < (uint)D && (uint)ih < (uint)H;
                                    if (planar && inside) {
                                        for (int c = 0; c < C; c++)
                                            block_run(to + c * across, x, at + c * x_c, 0, n, left, right, limit);
                                        continue;
                                    }
                                    if (!inside) {
                                        block_zero(to, planar ? across * C : n * wide);
                                        continue;
                                    }
                                    block_zero(to, left * wide);
                                    if (count == x_ld && count == wide) {
                                        block_copy(to + left * wide, x, at + left * x_ld, (right - left) * wide, limit);
                                    } else {
                                        for (int i = left; i < right; i++)
                                            block_copy(to + i * wide, x, at + i * x_ld, count, limit);
                                    }
                                    block_zero(to + right * wide, (n - right) * wide);
                                }
                            }
                        }
                    } else if (steps > 1 || p0 == p_begin) {
                        const int run0 = k0 / run, w0 = run0 % runs_w, line0 = run0 / runs_w;
                        for (int r = 0; r < rows; r++) {
                            int kw = w0, kh = line0 % KH, kd = line0 / KH;
                            float *to = block + r * CONV_LD - k0;
                            for (int start = run0 * run; start < k1; start += run) {
                                const int begin = max(start, k0), end = min(start + run, k1);
                                const int id = id0[r] + kd * dd, ih = ih0[r] + kh * dh, iw = iw0[r] + kw * dw;
                                const int at = x_off + image[r] * x_n + ((id * H + ih) * W + iw) * x_ld + g * cg * x_c;
                                if ((uint)id >= (uint)D || (uint)ih >= (uint)H || (!merged && (uint)iw >= (uint)W)) {
                                    block_zero(to + begin, end - begin);
                                } else if (merged && (iw < 0 || iw + KW > W)) {
                                    block_run(to + begin, x, at, begin - start, end - start, -iw * C, (W - iw) * C, limit);
                                } else if (x_c != 1) {
                                    for (int k = begin; k < end; k++) to[k] = TA_load(x, at + (k - start) * x_c);
                                } else {
                                    block_copy(to + begin, x, at + (begin - start), end - begin, limit);
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
                    const int items = side > 1 ? side : min(p0 + NPC, p_end) - p0;
                    const int length = planar || lines_whole ? length_whole : side > 1 ? cg : k1 - k0;
                    for (int i = 0; i < items; i++) {
                        const int beside = side > 1 ? i : 0, p = side > 1 ? 0 : p0 + i;
                        const int n = p * 32, n_base = (g + beside) * columns;
                        float16 *s = sums + (side > 1 ? 0 : i) * MR * 2;
                        GPTR(const TB) panel = w + (((g + beside) * panels + p) * depth + k0) * 32;
                        conv_panel(rows, columns - n, block + beside * cg, row, tap_runs, length, tap, begin, panel,
                                   planar ? C : 1, s, step == 0);
                        if (step + 1 < steps) continue;
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
