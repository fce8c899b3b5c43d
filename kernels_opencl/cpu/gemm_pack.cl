/* One work-item packs KB rows of one panel: vector copies where rows are contiguous, squares of 16 x 16 that are turned in
 * registers where columns are. */
#define TURN_V T_rv
#define TURN_LOAD(p, i) T_load_v(p, i)
#define TURN_STORE(p, i, v) T_store_v(p, i, v)
#include "turn.clh"

#define PACK_AHEAD 64

__attribute__((reqd_work_group_size(1, 1, 1))) KERNEL_ENTRY {
    const int n0 = group_id(0) * 32, width = min(32, N - n0);
    const int batch = group_id(2), i0 = batch / nb1, i1 = batch - i0 * nb1;
    const int k0 = group_id(1) * KB, k1 = min(K, k0 + KB);
    GPTR(const T) s = b + b_off + i0 * b_b0 + i1 * b_b1 + n0 * b_n;
    GPTR(T) d = packed + p_off + i0 * p_b0 + i1 * p_b1 + group_id(0) * K * 32;
    if (width == 32 && b_n == 1) {
        for (int k = k0; k < k1; k++) {
            T_store_v(d, k * 32, T_load_v(s, k * b_k));
            T_store_v(d, k * 32 + 16, T_load_v(s, k * b_k + 16));
        }
    } else if (width == 32) {
        int k = k0;
        for (; b_k == 1 && k + 16 <= k1; k += 16) {
            /* 32 rows at once are more than hardware follows */
            for (int n = 0; n < 32; n++) fetch_far(s + n * b_n + k + PACK_AHEAD);
            turn(s + k, b_n, d + k * 32, 32);
            turn(s + 16 * b_n + k, b_n, d + k * 32 + 16, 32);
        }
        for (; k < k1; k++) {
            T_store_v(d, k * 32, vgather16(T_rv, T_load, s, k * b_k, b_n));
            T_store_v(d, k * 32 + 16, vgather16(T_rv, T_load, s, k * b_k + 16 * b_n, b_n));
        }
    } else {
        for (int k = k0; k < k1; k++) {
            for (int n = 0; n < width; n++) T_store(d, k * 32 + n, T_load(s, k * b_k + n * b_n));
            for (int n = width; n < 32; n++) T_store(d, k * 32 + n, (T_r)0);
        }
    }
}
