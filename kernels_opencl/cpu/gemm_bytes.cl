/* C = A * B of 8-bit integers, B packed in panels.  One work-item computes a range of row blocks by a range of panels. */
#include "bytes_micro.clh"

__attribute__((reqd_work_group_size(1, 1, 1))) KERNEL_ENTRY {
    bytes_wide block[BYTES_MR * BYTES_LD];
    int sums[NPC * BYTES_MR * 32];
    const int batch = group_id(2), i0 = batch / nb1, i1 = batch - i0 * nb1;
    GPTR(const TA) rows_a = a + (a_off + i0 * a_b0 + i1 * a_b1);
    GPTR(const TB) matrix = b + (b_off + i0 * b_b0 + i1 * b_b1);
    const int c_base = c_off + i0 * c_b0 + i1 * c_b1;
    const int blocks = (M + BYTES_MR - 1) / BYTES_MR, panels = (N + 31) / 32, wide = bytes_panels(K);
    const int m_end = min(M, bytes_end(0, blocks) * BYTES_MR), p_end = bytes_end(1, panels);
    for (int p0 = bytes_begin(1, panels); p0 < p_end; p0 += wide) {
        const int p_stop = min(p0 + wide, p_end);
        for (int m0 = bytes_begin(0, blocks) * BYTES_MR; m0 < m_end; m0 += BYTES_MR) {
            const int rows = min(BYTES_MR, m_end - m0), few = rows <= 2;
            for (int i = 0; i < (p_stop - p0) * BYTES_MR * 4; i++) vstore8((int8)(0), i, sums);
            for (int k0 = 0; k0 < K; k0 += KC) {
                const int depth = min(KC, K - k0);
                for (int r = 0; r < (few ? 2 : BYTES_MR); r++) { /* rows past the end repeat the last one */
                    bytes_wide *to = block + r * BYTES_LD;
                    bytes_widen(to, rows_a + (m0 + min(r, rows - 1)) * a_m + k0, depth);
                    if (depth % 2) to[depth] = 0;
                }
                for (int p = p0; p < p_stop; p++) {
                    GPTR(const TB) panel = matrix + (p * K + k0) * 32;
                    int *s = sums + (p - p0) * BYTES_MR * 32;
                    if (few) bytes_micro_2(block, panel, depth, s);
                    else bytes_micro(block, panel, depth, s);
                }
            }
            for (int p = p0; p < p_stop; p++) {
                for (int r = 0; r < rows; r++) {
                    const int *s = sums + ((p - p0) * BYTES_MR + r) * 32;
                    const int at = c_base + (m0 + r) * c_m, n_end = min(N, p * 32 + 32);
                    int n = p * 32;
                    for (; n + 16 <= n_end; n += 16)
                        TC_store_v(c, at + n, EPILOGUE_V(vload16(0, s + n - p * 32), batch, m0 + r, n));
                    for (; n < n_end; n++) TC_store(c, at + n, EPILOGUE(s[n - p * 32], batch, m0 + r, n));
                }
            }
        }
    }
}
