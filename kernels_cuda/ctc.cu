#define all_barrier() __syncthreads()
#include "common/ctc.h"
