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
 * twelve of them.  A transposed A is copied for all row blocks at once: each row of its memory is another page then, and
 * what lies side by side there is read while it is near. */
#include "gemm_micro.clh"

#ifdef GEMM_B_ROWS
#define PANEL(p, k) ((p) * 32 + (k) * b_k)
#define PANEL_STEP b_k
#else
#define PANEL(p, k) (((p) * K + (k)) * 32)
#define PANEL_STEP 32
#endif

/* copies of A: floats of a row block, and row blocks that are kept */
#define BLOCK_SIZE (MR * GEMM_LD)
#ifdef GEMM_A_COLUMNS
#define BLOCKS_COPIED BLOCKS
#else
#define BLOCKS_COPIED 1
#endif

/* this work-item's part of count things, which the items along d share as evenly as can be */
FN int part_begin(int d, int count) { return (group_id(d) * count + group_count(d) - 1) / group_count(d); }
FN int part_end(int d, int count) { return ((group_id(d) + 1) * count + group_count(d) - 1) / group_count(d); }
FN int is_last(int d) { return group_id(d) + 1 == group_count(d); }

#ifdef GEMM_A_COLUMNS
/* rows m_begin to m_end of A, depth columns from k0 on, as blocks: the columns of a block one after the other */
FN void copy_columns(GPTR(const TA) a, int a_base, int a_k, float *to, int m_begin, int m_end, int M, int k0, int depth,
                     int batch PROLOGUE_PARAMETERS) {
    int m = m_begin;
#ifdef PROLOGUE_EMPTY
    /* of each vector the next one overwrites what is beyond MR */
    const int whole = min((m_end - m_begin) / MR, max(0, M - 16 - m_begin + MR) / MR);
    for (int k = 0; k < depth; k++) {
        GPTR(const TA) source = a + (a_base + m_begin + (k0 + k) * a_k);
        for (int i = 0; i < whole; i++)
            vstore16(TA_load_v(source, i * MR), 0, to + (i * BLOCK_SIZE + k * MR));
    }
    m += whole * MR;
    to += whole * BLOCK_SIZE;
#endif
    for (; m < m_end; m += MR, to += BLOCK_SIZE) {
        const int rows = min(MR, m_end - m);
        for (int k = 0; k < depth; k++) {
            GPTR(const TA) source = a + (a_base + m + (k0 + k) * a_k);
            for (int r = 0; r < rows; r++) to[k * MR + r] = PROLOGUE(TA_load(source, r), batch, m + r, k0 + k);
            for (int r = rows; r < MR; r++) to[k * MR + r] = 0.0f;
        }
    }
}

/* brings one of parts of what is copied next nearer: rows m_begin to m_end of A, step columns from k_begin on */
FN void fetch_columns(GPTR(const TA) a, int a_base, int a_k, int m_begin, int m_end, int k_begin, int K, int step,
                      int part, int parts) {
    const int depth = min(step, K - k_begin), stop = min(m_end, m_begin + BLOCKS * MR);
    for (int k = part * depth / parts; k < (part + 1) * depth / parts; k++)
        for (int m = m_begin; m < stop; m += 16) fetch_far(a + (a_base + m + (k_begin + k) * a_k));
}
#endif

__attribute__((reqd_work_group_size(1, 1, 1))) KERNEL_ENTRY {
    float16 block_vectors[BLOCKS_COPIED * BLOCK_SIZE / 16]; /* vectors, so that it is aligned as one */
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
#ifdef GEMM_A_COLUMNS
                const int row_blocks = (m_stop - m_pass + MR - 1) / MR;
                copy_columns(a, a_base, a_k, (float *)block_vectors, m_pass, m_stop, M, k0, depth, batch
                             PROLOGUE_ARGUMENTS);
#endif
                for (int m0 = m_pass, i = 0; m0 < m_stop; m0 += MR, i++) {
                    const int rows = min(MR, m_stop - m0);
#ifdef GEMM_A_COLUMNS
                    float *block = (float *)block_vectors + i * BLOCK_SIZE;
                    GPTR(const TA) next = a;
                    const int next_ld = 0;
#else
                    float *block = (float *)block_vectors;
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
#ifdef GEMM_A_COLUMNS
                        const int part = i * (p_stop - p0) + p - p0, parts = row_blocks * (p_stop - p0);
                        if (more)
                            fetch_columns(a, a_base, a_k, m_pass, m_stop, k0 + step, K, step, part, parts);
                        else
                            fetch_columns(a, a_base, a_k, m_stop, m_end, 0, K, step, part, parts);
#endif
                        const int n = p * 32;
                        if (gemm_panel(rows, N - n, block, panel, PANEL_STEP, depth, next, next_ld, s, k0 == 0, !more,
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
