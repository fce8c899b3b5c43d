#define GROUP_BARRIER() __syncthreads()
#include "common/non_max_suppression.h"
