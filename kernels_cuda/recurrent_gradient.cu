#define all_barrier() __syncthreads()
#include "common/recurrent_gradient.h"
