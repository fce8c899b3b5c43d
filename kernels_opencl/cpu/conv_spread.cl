/* Transposed convolution of 2-D images with few output channels: each input pixel times all its taps, a matrix product
 * whose columns are taps, added to the outputs that it reaches.  A work-item owns a rectangle of outputs and keeps
 * the lines that are not complete yet in a ring; inputs at the rectangle's border are multiplied again by its neighbours,
 * but only with the kernel rows that stay inside. */
#include "conv_micro.clh"
#include "conv_block.clh"

__attribute__((reqd_work_group_size(1, 1, 1))) KERNEL_ENTRY {
    int row[MR];
    const int no_tap = 0;
    for (int r = 0; r < MR; r++) row[r] = r * CONV_LD;
    float16 ring_vectors[RING / 16], block_vectors[MR * CONV_LD / 16], sums[MR * 2 + 1];
    float *ring = (float *)ring_vectors, *block = (float *)block_vectors;
    const int lines_each = (OH + group_count(0) - 1) / group_count(0);
    const int columns_each = (OW + group_count(1) - 1) / group_count(1);
    const int b = group_id(2), oh0 = group_id(0) * lines_each, oh1 = min(OH, oh0 + lines_each);
    const int ow0 = group_id(1) * columns_each, ow1 = min(OW, ow0 + columns_each);
    const int limit = x_off + (N * H * W - 1) * x_ld + C, columns = KH * KW * OC, run = KW * OC;
    const int reach = (KH - 1) * dh + 1, slots = max(reach, sh);
    const int ring_ld = ((columns_each + 2 * KW) * OC + 31) & ~15, margin = KW * OC;
    const int from_h = oh0 + ph - reach + 1, from_w = ow0 + pw - KW + 1;
    const int ih0 = from_h > 0 ? (from_h + sh - 1) / sh : 0, ih1 = min(H, (oh1 - 1 + ph) / sh + 1);
    const int iw0 = from_w > 0 ? (from_w + sw - 1) / sw : 0, iw1 = min(W, (ow1 - 1 + pw) / sw + 1);
    const int step = sw * OC;
    const int16 lane = (int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);

    for (int i = 0; i < slots * ring_ld; i += 16) vstore16((float16)(0.0f), 0, ring + i);
    for (int ih = ih0, done = oh0; done < oh1; ih++) {
        const int top = ih * sh - ph; /* output line of kernel row 0 */
        int k0 = 0, k1 = ih < ih1 ? KH : 0;
        while (k0 < k1 && top + k0 * dh < oh0) k0++;
        while (k0 < k1 && top + (k1 - 1) * dh >= oh1) k1--;
        for (int i0 = iw0; i0 < iw1 && k0 < k1; i0 += MR) {
            const int rows = min(MR, iw1 - i0);
            for (int r = 0; r < rows; r++)
                block_copy(block + r * CONV_LD, x, x_off + ((b * H + ih) * W + i0 + r) * x_ld, C, limit);
            for (int r = rows; r < MR; r++) block_zero(block + r * CONV_LD, C); /* narrow panels compute all rows */
            for (int p = k0 * run / 32; p * 32 < k1 * run; p++) {
                const int n = p * 32, n1 = min(n + 32, k1 * run);
                conv_panel(rows, columns - n, block, row, 1, C, &no_tap, &no_tap, w + p * C * 32, 1, sums, 1);
                const int left = margin + (i0 * sw - pw - ow0) * OC;
                for (int kh = max(n / run, k0); kh * run < n1; kh++) {
                    const int begin = max(kh * run, n), count = min(kh * run + run, n1) - begin;
                    float *to = ring + (top + kh * dh - oh0) % slots * ring_ld + left + begin - kh * run;
                    const float *sum = (const float *)sums + begin - n;
                    /* rows overlap, each step floats to the right of the one before: 16 outputs at a time */
                    for (int i = 0, first = 0; i < (rows - 1) * step + count; i += 16) {
                        while (i - first * step >= count) first++;
                        float16 v = vload16(0, to + i);
                        for (int r = first, at = i - r * step; r < rows && at > -16; r++, at -= step)
                            v += select((float16)(0.0f), vload16(0, sum + r * 32 + at), as_uint16(lane + at) < (uint16)(count));
                        vstore16(v, 0, to + i);
                    }
                }
            }
        }
        for (; done < oh1 && (done < top + sh || ih >= ih1); done++) { /* no later input line reaches these */
            float *line = ring + (done - oh0) % slots * ring_ld;
            for (int ow = ow0; ow < ow1; ow++) {
                const int m = done * OW + ow, at = y_off + (b * OH * OW + m) * y_ld;
                for (int n = 0; n < OC; n++)
                    TC_store(y, at + n, EPILOGUE(line[margin + (ow - ow0) * OC + n], b, m, n));
            }
            for (int i = 0; i < ring_ld; i += 16) vstore16((float16)(0.0f), 0, line + i);
        }
    }
}
