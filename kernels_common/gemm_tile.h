/* A group's BM x BN tile of a matrix product: operands staged through local memory BK deep, RM x RN sums per thread.
 * A thread's rows are TILE_TY apart and its columns TILE_TX apart, so that neighbours in a group store neighbouring
 * columns; rows of the staged tiles are one element longer than a multiple of the banks. */
#define TILE_TX (BN / RN)
#define TILE_TY (BM / RM)
#define TILE_THREADS (TILE_TX * TILE_TY)
#define TILE_A_LD (BM + 1)
#define TILE_B_LD (BN + 1)
#define TILE_ROW(i) (local_id(0) / TILE_TX + (i) * TILE_TY)
#define TILE_COLUMN(j) (local_id(0) % TILE_TX + (j) * TILE_TX)

FN void tile_clear(ACC_r *sums) {
    UNROLL for (int i = 0; i < RM * RN; i++) sums[i] = (ACC_r)0;
}

FN void tile_multiply(LPTR(const ACC_r) ta, LPTR(const ACC_r) tb, ACC_r *sums) {
    ACC_r x[RM], y[RN];
    for (int k = 0; k < BK; k++) {
        UNROLL for (int i = 0; i < RM; i++) x[i] = ta[k * TILE_A_LD + TILE_ROW(i)];
        UNROLL for (int j = 0; j < RN; j++) y[j] = tb[k * TILE_B_LD + TILE_COLUMN(j)];
        UNROLL for (int i = 0; i < RM; i++) {
            UNROLL for (int j = 0; j < RN; j++) sums[i * RN + j] += x[i] * y[j];
        }
    }
}
