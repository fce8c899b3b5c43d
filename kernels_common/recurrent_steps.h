/* Recurrent layers on GPUs: what the cells share.
 *
 * The including frame defines all_barrier() (local and global memory), the including cell GATES.  A work-group is 16
 * units x SLICES slices of the inputs.  With ONE_STEP it makes 16 units of one row for one step, without it
 * all units of one row for all steps. */
#include "common/recurrent_activation.h"
RECURRENT_ACTIVATION(float)

#define UNITS 16

/* Sums of the gates g0 .. g1 - 1 of unit `lane` over the inputs, complete in the threads of slice 0. */
#define RECURRENT_SUMS(NAME, P, LOAD)                                                                             \
    FN void NAME(GPTR(const T) weights, GPTR(const P) state, int inputs, int g0, int g1, int slice, int lane,     \
                 LPTR(float) partial, float *sum) {                                                               \
        for (int g = g0; g < g1; g++) sum[g] = 0.0f;                                                              \
        for (int i = slice; i < inputs; i += SLICES) {                                                            \
            const float x = LOAD(state, i);                                                                       \
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
