#define all_barrier() __syncthreads()
#include "common/rnn.h"
