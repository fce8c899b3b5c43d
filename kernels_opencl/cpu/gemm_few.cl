/* C = A * packed B for at most four rows of A, as in a decode step: as fast as B comes from memory.
 *
 * One work-item takes a range of panels, which lie one after the other: one long stream.  Hardware foresees a stream only
 * to the end of a page, so lines are asked for AHEAD rows of the panel before they are needed, beyond the panel's end
 * too: the next one follows.  A is read in place, an element at a time: it stays in the first-level cache. */
#define FEW_1(X) X(0)
#define FEW_2(X) FEW_1(X) X(1)
#define FEW_3(X) FEW_2(X) X(2)
#define FEW_4(X) FEW_3(X) X(3)

#define FEW_DECLARE(r) float16 s##r = (float16)(0.0f), t##r = (float16)(0.0f), u##r = (float16)(0.0f), v##r = (float16)(0.0f);
#define FEW_STEP(r)                                                                                           \
    {                                                                                                         \
        const float16 x = (float16)(TA_load(a, r * a_m + k)), y = (float16)(TA_load(a, r * a_m + k + 1));     \
        s##r = fma(x, w0, s##r);                                                                              \
        t##r = fma(x, w1, t##r);                                                                              \
        u##r = fma(y, w2, u##r);                                                                              \
        v##r = fma(y, w3, v##r);                                                                              \
    }
#define FEW_LAST(r)                                                                                           \
    {                                                                                                         \
        const float16 x = (float16)(TA_load(a, r * a_m + k));                                                 \
        s##r = fma(x, w0, s##r);                                                                              \
        t##r = fma(x, w1, t##r);                                                                              \
    }
#define FEW_KEEP(r) sums[2 * r] = s##r + u##r; sums[2 * r + 1] = t##r + v##r;

/* sums[rows][2] = a[rows][depth] * panel[depth][32]; functions of their own for the reason told in gemm_micro.clh */
#define FEW(ROWS)                                                                                             \
    static __attribute__((noinline)) void few_##ROWS(GPTR(const TA) a, int a_m, GPTR(const TB) panel, int depth, \
                                                     float16 *sums) {                                         \
        FEW_##ROWS(FEW_DECLARE)                                                                               \
        int k = 0;                                                                                            \
        for (; k + 2 <= depth; k += 2) {                                                                      \
            GPTR(const TB) w = panel + k * 32;                                                                \
            const float16 w0 = TB_load_v(w, 0), w1 = TB_load_v(w, 16), w2 = TB_load_v(w, 32), w3 = TB_load_v(w, 48); \
            fetch_near(w + AHEAD * 32);                                                                       \
            fetch_near(w + AHEAD * 32 + 16);                                                                  \
            fetch_near(w + AHEAD * 32 + 32);                                                                  \
            fetch_near(w + AHEAD * 32 + 48);                                                                  \
            FEW_##ROWS(FEW_STEP)                                                                              \
        }                                                                                                     \
        if (k < depth) {                                                                                      \
            const float16 w0 = TB_load_v(panel, k * 32), w1 = TB_load_v(panel, k * 32 + 16);                  \
            FEW_##ROWS(FEW_LAST)                                                                              \
        }                                                                                                     \
        FEW_##ROWS(FEW_KEEP)                                                                                  \
    }

FEW(1)
FEW(2)
FEW(3)
FEW(4)

__attribute__((reqd_work_group_size(1, 1, 1))) KERNEL_ENTRY {
    float16 sums[4 * 2];
    const int batch = group_id(2), i0 = batch / nb1, i1 = batch - i0 * nb1;
    GPTR(const TA) rows = a + (a_off + i0 * a_b0 + i1 * a_b1);
    GPTR(const TB) matrix = b + (b_off + i0 * b_b0 + i1 * b_b1);
    const int c_base = c_off + i0 * c_b0 + i1 * c_b1;
    const int panels = (N + 31) / 32, each = (panels + group_count(1) - 1) / group_count(1);
    const int begin = group_id(1) * each, end = min(panels, begin + each);
    for (int p = begin; p < end; p++) {
        GPTR(const TB) panel = matrix + p * K * 32;
        if (M == 1) few_1(rows, a_m, panel, K, sums);
        else if (M == 2) few_2(rows, a_m, panel, K, sums);
        else if (M == 3) few_3(rows, a_m, panel, K, sums);
        else few_4(rows, a_m, panel, K, sums);
        for (int i = 0; i < 2 * M; i++) {
            const int m = i / 2, n = p * 32 + i % 2 * 16, left = N - n;
            if (left >= 16) {
                TC_store_v(c, c_base + m * c_m + n, EPILOGUE_V(sums[i], batch, m, n));
            } else if (left > 0) {
                float lane[16];
                vstore16(sums[i], 0, lane);
                for (int j = 0; j < left; j++)
                    TC_store(c, c_base + m * c_m + n + j, EPILOGUE(lane[j], batch, m, n + j));
            }
        }
    }
}
