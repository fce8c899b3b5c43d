#define all_barrier() __syncthreads()
#include "common/gru.h"
