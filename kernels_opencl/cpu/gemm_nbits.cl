/* One work-item takes COLUMNS columns.  The weights of a column become floats once, DEPTH at a time, for up to HEIGHT rows;
 * sums wait as vectors of 16. */
#define HEIGHT 32

FN uchar16 nibbles(GPTR(const uchar) from) {
    const uchar8 packed = vload8(0, from);
    const uchar8 low = packed & (uchar8)(15), high = packed >> (uchar8)(4);
    return (uchar16)(low.s0, high.s0, low.s1, high.s1, low.s2, high.s2, low.s3, high.s3,
                     low.s4, high.s4, low.s5, high.s5, low.s6, high.s6, low.s7, high.s7);
}

__attribute__((reqd_work_group_size(1, 1, 1))) KERNEL_ENTRY {
    float weights[DEPTH];
    float16 sums[HEIGHT];
    const int length = blocks * (block * bits / 8), n_end = min(N, group_id(0) * COLUMNS + COLUMNS);
    for (int m0 = 0; m0 < M; m0 += HEIGHT) { /* rows stay near while columns pass */
        const int rows = min(HEIGHT, M - m0);
        for (int n = group_id(0) * COLUMNS; n < n_end; n++) {
            GPTR(const uchar) column = b + n * length;
            for (int r = 0; r < rows; r++) sums[r] = (float16)(0.0f);
            for (int k0 = 0; k0 < K; k0 += DEPTH) {
                const int depth = min(DEPTH, K - k0);
                for (int k = 0; k < depth;) {
                    const int part = (k0 + k) / block, end = min(depth, (part + 1) * block - k0);
                    const float scale = TS_load(scales, n * blocks + part);
                    const float zero = TZ_load(zeros, n * z_n + part * z_b);
                    for (; k < end; k += 16) { /* blocks are multiples of 16, so all 16 are there */
                        const uchar16 q = bits == 8 ? vload16(0, column + k0 + k) : nibbles(column + (k0 + k) / 2);
                        vstore16((convert_float16(q) - zero) * scale, 0, weights + k);
                    }
                }
                int r = 0;
                for (; r + 4 <= rows; r += 4) {
                    GPTR(const TA) row = a + (a_off + (m0 + r) * a_m + k0);
                    float16 s0 = sums[r], s1 = sums[r + 1], s2 = sums[r + 2], s3 = sums[r + 3];
                    int k = 0;
                    for (; k + 16 <= depth; k += 16) {
                        const float16 w = vload16(0, weights + k);
                        s0 = fma(TA_load_v(row, k), w, s0);
                        s1 = fma(TA_load_v(row, a_m + k), w, s1);
                        s2 = fma(TA_load_v(row, 2 * a_m + k), w, s2);
                        s3 = fma(TA_load_v(row, 3 * a_m + k), w, s3);
                    }
                    for (; k < depth; k++) {
                        s0.s0 += TA_load(row, k) * weights[k];
                        s1.s0 += TA_load(row, a_m + k) * weights[k];
                        s2.s0 += TA_load(row, 2 * a_m + k) * weights[k];
                        s3.s0 += TA_load(row, 3 * a_m + k) * weights[k];
                    }
                    sums[r] = s0;
                    sums[r + 1] = s1;
                    sums[r + 2] = s2;
                    sums[r + 3] = s3;
                }
                for (; r < rows; r++) {
                    GPTR(const TA) row = a + (a_off + (m0 + r) * a_m + k0);
                    float16 even = sums[r], odd = (float16)(0.0f);
                    int k = 0;
                    for (; k + 32 <= depth; k += 32) {
                        even = fma(TA_load_v(row, k), vload16(0, weights + k), even);
                        odd = fma(TA_load_v(row, k + 16), vload16(0, weights + k + 16), odd);
                    }
                    for (; k < depth; k++) even.s0 += TA_load(row, k) * weights[k];
                    sums[r] = even + odd;
                }
            }
            for (int r = 0; r < rows; r++) {
                const float8 eight = sums[r].lo + sums[r].hi;
                const float4 four = eight.lo + eight.hi;
                const float sum = (four.s0 + four.s1) + (four.s2 + four.s3);
                TC_store(c, c_off + (m0 + r) * c_m + n, EPILOGUE(sum, 0, m0 + r, n));
            }
        }
    }
}
