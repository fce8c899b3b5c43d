/* C = A * B.  One work-item computes a range of row blocks by a range of panels; see gemm_micro.clh.
 *
 * B is packed in panels, or (GEMM_B_ROWS) lies in rows of any length, 8 columns at a time.
 *
 * A step is NPC panels, KC deep: they stay in the second-level cache while up to BLOCKS row blocks pass, whose sums wait
 * in private memory between the steps: B comes from memory once per BLOCKS * MR rows.  (Fetching the next step's panels
 * ahead was tried: no faster where B comes from memory, slower for few rows.)
 *
 * Blocks of A are copied before use: that converts them to float and applies the prologue once, and it makes the
 * strides between rows (or, of a transposed A, columns) harmless: rows 4 KiB apart would share eight cache lines between
 * twelve of them. */
#include "gemm_micro.clh"

#ifdef GEMM_B_ROWS
#define PANEL(p, k) ((p) * 32 + (k) * b_k)
#define PANEL_STEP b_k
#else
#define PANEL(p, k) (((p) * K + (k)) * 32)
#define PANEL_STEP 32
#endif

/* from where on a panel fetches of the next block: columns lie far apart, and each is fetched by one panel only */
#ifdef GEMM_A_COLUMNS
#define NEXT(p) (next + ((p) - p0) * depth / (p_stop - p0) * next_ld)
#else
#define NEXT(p) next
#endif

/* this work-item's part of count things, which the items along d share as evenly as can be */
FN int part_begin(int d, int count) { return (group_id(d) * count + group_count(d) - 1) / group_count(d); }
FN int part_end(int d, int count) { return ((group_id(d) + 1) * count + group_count(d) - 1) / group_count(d); }
FN int is_last(int d) { return group_id(d) + 1 == group_count(d); }

__attribute__((reqd_work_group_size(1, 1, 1))) KERNEL_ENTRY {
    float16 block_vectors[MR * GEMM_LD / 16]; /* vectors, so that it is aligned as one */
    float *block = (float *)block_vectors;
    float16 sums[BLOCKS * NPC * MR * 2];
    const int batch = group_id(2), i0 = batch / nb1, i1 = batch - i0 * nb1;
    const int a_base = a_off + i0 * a_b0 + i1 * a_b1, b_base = b_off + i0 * b_b0 + i1 * b_b1;
    const int c_base = c_off + i0 * c_b0 + i1 * c_b1;
    /* rows that fill no block go to the last of a range */
    const int blocks = max(1, M / MR), panels = (N + 31) / 32;
    const int m_begin = part_begin(0, blocks) * MR, m_end = is_last(0) ? M : part_end(0, blocks) * MR;
    const int p_begin = part_begin(1, panels), p_end = part_end(1, panels);
    const int columns = N, n_base = 0;
    const int steps = max(1, (K + KC - 1) / KC), step = (K + steps - 1) / steps;

    for (int p0 = p_begin; p0 < p_end; p0 += NPC) {
        for (int m_pass = m_begin; m_pass < m_end; m_pass += BLOCKS * MR) {
            const int m_stop = min(m_end, m_pass + BLOCKS * MR);
            for (int k0 = 0, more = 1; more; k0 += step) {
                const int depth = min(step, K - k0);
                more = k0 + step < K;
                for (int m0 = m_pass, i = 0; m0 < m_stop; m0 += MR, i++) {
                    const int rows = min(MR, m_stop - m0);
#ifdef GEMM_A_COLUMNS
                    GPTR(const TA) source = a + (a_base + m0 + k0 * a_k);
#ifdef PROLOGUE_EMPTY
                    if (m0 + 16 <= M) { /* of each vector the next one overwrites what is beyond MR */
                        for (int k = 0; k < depth; k++) vstore16(TA_load_v(source, k * a_k), 0, block + k * MR);
                    } else
#endif
                    {
                        for (int k = 0; k < depth; k++) {
                            for (int r = 0; r < rows; r++)
                                block[k * MR + r] = PROLOGUE(TA_load(source, k * a_k + r), batch, m0 + r, k0 + k);
                            for (int r = rows; r < MR; r++) block[k * MR + r] = 0.0f;
                        }
                    }
                    const int another = m0 + 2 * MR <= M, next_ld = another ? a_k : 0;
                    GPTR(const TA) next = source + (another ? MR : 0);
#else
                    for (int r = 0; r < rows; r++) {
                        GPTR(const TA) source = a + (a_base + (m0 + r) * a_m + k0);
                        int k = 0;
                        float *to = block + r * GEMM_LD;
                        for (; k + 16 <= depth; k += 16)
                            vstore16(PROLOGUE_V(TA_load_v(source, k), batch, m0 + r, k0 + k), 0, to + k);
                        for (; k < depth; k++)
                            to[k] = PROLOGUE(TA_load(source, k), batch, m0 + r, k0 + k);
                    }
                    for (int r = rows; r < MR; r++) /* micro-kernels take more rows than are left */
                        for (int k = 0; k < depth; k += 16) vstore16((float16)(0.0f), 0, block + r * GEMM_LD + k);
                    GPTR(const TA) next = a + (a_base + min(m0 + MR, M - 1) * a_m + k0);
                    const int next_ld = m0 + 2 * MR <= M ? a_m : 0;
#endif
                    const int p_stop = min(p0 + NPC, p_end);
                    for (int p = p0; p < p_stop; p++) {
                        float16 *s = sums + (i * NPC + p - p0) * MR * 2;
                        GPTR(const TB) panel = b + (b_base + PANEL(p, k0));
                        const int n = p * 32;
                        if (gemm_panel(rows, N - n, block, panel, PANEL_STEP, depth, NEXT(p), next_ld, s, k0 == 0, !more,
                                       c, c_base + m0 * c_m + n, c_m, batch, m0, n EPILOGUE_ARGUMENTS) || more)
                            continue;
#define FINISH_OUT c
#define ROW_AT(r) (c_base + (m0 + (r)) * c_m)
#define ROW_B(r) batch
#define ROW_M(r) (m0 + (r))
#include "conv_finish.clh"
                    }
                }
            }
        }
    }
}
