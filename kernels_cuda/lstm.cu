#define all_barrier() __syncthreads()
#include "common/lstm.h"
