/* Tiled product of strided operands.  Threads load along whichever dimension of an operand is contiguous. */
#include "common/gemm_tile.h"

KERNEL_ENTRY {
    LOCAL_ARRAY(ACC_r, ta, BK * TILE_A_LD);
    LOCAL_ARRAY(ACC_r, tb, BK * TILE_B_LD);
    const int m0 = group_id(0) * BM, n0 = group_id(1) * BN, thread = local_id(0);
    const int a_along_k = a_k == 1, b_along_n = b_n == 1;
    for (int batch = group_id(2); batch < nb0 * nb1; batch += group_count(2)) {
        const int i0 = batch / nb1, i1 = batch - i0 * nb1;
        const int a_base = a_off + i0 * a_b0 + i1 * a_b1, b_base = b_off + i0 * b_b0 + i1 * b_b1;
        const int c_base = c_off + i0 * c_b0 + i1 * c_b1;
        ACC_r sums[RM * RN];
        tile_clear(sums);
        for (int k0 = 0; k0 < K; k0 += BK) {
            for (int i = thread; i < BM * BK; i += TILE_THREADS) {
                const int row = a_along_k ? i / BK : i % BM, depth = a_along_k ? i % BK : i / BM;
                const int m = m0 + row, k = k0 + depth;
                ACC_r v = (ACC_r)0;
                if (m < M && k < K) v = (ACC_r)PROLOGUE(TA_load(a, a_base + m * a_m + k * a_k), batch, m, k);
                ta[depth * TILE_A_LD + row] = v;
            }
            for (int i = thread; i < BN * BK; i += TILE_THREADS) {
                const int column = b_along_n ? i % BN : i / BK, depth = b_along_n ? i / BN : i % BK;
                const int n = n0 + column, k = k0 + depth;
                ACC_r v = (ACC_r)0;
                if (n < N && k < K) v = (ACC_r)TB_load(b, b_base + k * b_k + n * b_n);
                tb[depth * TILE_B_LD + column] = v;
            }
            local_barrier();
            tile_multiply(ta, tb, sums);
            local_barrier();
        }
        for (int i = 0; i < RM; i++) {
            const int m = m0 + TILE_ROW(i);
            for (int j = 0; j < RN; j++) {
                const int n = n0 + TILE_COLUMN(j);
                if (m < M && n < N) TC_store(c, c_base + m * c_m + n, EPILOGUE(sums[i * RN + j], batch, m, n));
            }
        }
    }
}
