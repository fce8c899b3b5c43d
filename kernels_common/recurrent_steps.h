/* Recurrent layers on GPUs: what the cells share.
 *
 * The including frame defines all_barrier() (local and global memory), the including cell GATES.  A work-group is 16
 * units x SLICES slices of the inputs.  With ONE_STEP it makes 16 units of one row for one step, without it
 * all units of one row for all steps. */
#include "common/recurrent_activation.h"
RECURRENT_ACTIVATION(T_r)

#define UNITS 16

/* Sums of the gates g0 .. g1 - 1 of unit `lane` over the inputs, complete in the threads of slice 0. */
#define RECURRENT_SUMS(NAME, P, LOAD)                                                                             \
    FN void NAME(GPTR(const T) weights, GPTR(const P) state, int inputs, int g0, int g1, int slice, int lane,     \
                 LPTR(T_r) partial, T_r *sum) {                                                                   \
        for (int g = g0; g < g1; g++) sum[g] = 0.0f;                                                              \
        for (int i = slice; i < inputs; i += SLICES) {                                                            \
            const T_r x = LOAD(state, i);                                                                         \
            for (int g = g0; g < g1; g++) sum[g] += x * T_load(weights, (i * GATES + g) * UNITS + lane);          \
        }                                                                                                         \
        local_barrier();                                                                                          \
        for (int g = g0; g < g1; g++) partial[(slice * GATES + g) * UNITS + lane] = sum[g];                       \
        local_barrier();                                                                                          \
        for (int g = g0; g < g1; g++) {                                                                           \
            sum[g] = 0.0f;                                                                                        \
            for (int s = 0; s < SLICES; s++) sum[g] += partial[(s * GATES + g) * UNITS + lane];                   \
        }                                                                                                         \
    }
RECURRENT_SUMS(recurrent_sums, T, T_load)

/* Where a work-group is: the row, its blocks of units first .. last - 1, the direction, and how many steps the row has. */
#define RECURRENT_PLACE                                                                                           \
    LOCAL_ARRAY(T_r, partial, SLICES * GATES * UNITS);                                                            \
    const int lane = local_id(0) % UNITS;                                                                         \
    const int slice = local_id(0) / UNITS;                                                                        \
    const int blocks = (H + UNITS - 1) / UNITS;                                                                   \
    const int row = ONE_STEP ? group_id(0) / blocks : group_id(0);                                                \
    const int first = ONE_STEP ? group_id(0) % blocks : 0;                                                        \
    const int last = ONE_STEP ? first + 1 : blocks;                                                               \
    const int d = group_id(1), back = reverse >> d & 1;                                                           \
    const int xw_at = xw_off + d * xw_d, h0_at = h0_off + d * h0_d;                                               \
    const int y_at = y_off + d * y_d, hn_at = hn_off + d * hn_d;                                                  \
    const int length = has_lens ? min(T_len, lens[row]) : T_len;
