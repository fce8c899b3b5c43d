/* A work-item takes a share of the pixels and a range of input channels.  It brings the inputs under some output pixels
 * into a private block, padded with zeros - for each line of outputs, the pixels that its taps reach - and their gradient,
 * 32 output channels at a time, into another; see conv_filter_micro.clh.  What a block adds to the filters goes to the
 * work-item's own part of the result, so that nothing is shared and every sum has its order. */
#include "conv_block.clh"
#include "conv_filter_micro.clh"

__attribute__((reqd_work_group_size(1, 1, 1))) KERNEL_ENTRY {
    float16 block_vectors[BLOCK / 16 + 1], gradient_vectors[PIXELS * 2], sums[24]; /* vectors: aligned as such */
    float *block = (float *)block_vectors, *gradient = (float *)gradient_vectors;
    int count[PIXELS], source[PIXELS], row[12], target[12]; /* of lines: pixels, their gradient; of rows: places */
    const int cg = C / groups, columns = OC / groups, g = group_id(2), part = group_id(0);
    const int c0 = group_id(1) * chunk, cb = min(chunk, cg - c0), rows = KD * KH * KW * cb;
    const int reach = (KW - 1) * dw + 1;
    /* lines longer than a block are taken in pieces */
    const int most = min(min(OW, PIXELS), (BLOCK / (KD * KH * cb) - reach) / sw + 1), pieces = (OW + most - 1) / most;
    const int across = (most - 1) * sw + reach, pitch = KD * KH * across * cb, most_lines = min(PIXELS, BLOCK / pitch);
    const int all = N * OD * OH, share = all / splits, first_line = share * part + min(all % splits, part);
    const int begin = first_line * pieces, end = (first_line + share + (part < all % splits)) * pieces;
    const int limit = x_off + (N * D * H * W - 1) * x_ld + C;
    GPTR(float) out = parts + (part * groups + g) * KD * KH * KW * cg * w_ld;

    for (int at = begin; at < end;) {
        const int first = at == begin;
        int lines = 0, pixels = 0;
        for (; at < end && lines < most_lines; at++, lines++) {
            const int line = at / pieces, ow = (at - line * pieces) * most, n = min(most, OW - ow);
            if (pixels + n > PIXELS) break;
            const int plane = line / OH, b = plane / OD;
            const int id0 = (plane - b * OD) * sd - pd, ih0 = (line - plane * OH) * sh - ph, iw = ow * sw - pw;
            const int wide = (n - 1) * sw + reach, left = clamp(-iw, 0, wide), right = clamp(W - iw, left, wide);
            float *to = block + lines * pitch;
            for (int kd = 0, id = id0; kd < KD; kd++, id += dd) {
                for (int kh = 0, ih = ih0; kh < KH; kh++, ih += dh, to += across * cb) {
                    if ((uint)id >= (uint)D || (uint)ih >= (uint)H) {
                        block_zero(to, wide * cb);
                        continue;
                    }
                    const int from = x_off + (((b * D + id) * H + ih) * W + iw) * x_ld + g * cg + c0;
                    block_zero(to, left * cb);
                    if (cb == x_ld) {
                        block_copy(to + left * cb, x, from + left * x_ld, (right - left) * cb, limit);
                    } else {
                        for (int i = left; i < right; i++) block_copy(to + i * cb, x, from + i * x_ld, cb, limit);
                    }
                    block_zero(to + right * cb, (wide - right) * cb);
                }
            }
            count[lines] = n;
            source[lines] = y_off + (line * OW + ow) * y_ld + g * columns;
            pixels += n;
        }
        for (int n0 = 0; n0 < columns; n0 += 32) {
            const int width = min(32, columns - n0);
            float *to = gradient;
            for (int t = 0; t < lines; t++) {
                for (int i = 0, from = source[t] + n0; i < count[t]; i++, from += y_ld, to += 32) {
                    if (width == 32) {
                        vstore16(TB_load_v(dy, from), 0, to);
                        vstore16(TB_load_v(dy, from + 16), 1, to);
                    } else {
                        for (int j = 0; j < 32; j++) to[j] = j < width ? TB_load(dy, from + j) : 0.0f;
                    }
                }
            }
            int c = 0, kw = 0, line = 0; /* of the row at hand: channel, column and line of its tap */
            for (int r = 0; r < rows;) {
                const int high = filter_rows(rows - r), valid = min(high, rows - r);
                for (int j = 0; j < high; j++) {
                    row[j] = (line * across + kw * dw) * cb + c;
                    target[j] = ((line * KW + kw) * cg + c0 + c) * w_ld + n0;
                    if (j + 1 < valid && ++c == cb) { /* rows that are not there repeat the last one */
                        c = 0;
                        if (++kw == KW) {
                            kw = 0;
                            line++;
                        }
                    }
                }
                filter_block(high, width, block, row, lines, count, pitch, sw * cb, gradient, sums);
                for (int j = 0; j < valid; j++) filter_add(out + target[j], sums + 2 * j, first);
                r += valid;
                if (++c == cb) {
                    c = 0;
                    if (++kw == KW) {
                        kw = 0;
                        line++;
                    }
                }
            }
        }
    }
}
