#define TOPK_BITS(v) ((ulong)__double_as_longlong(v))
#define GROUP_BARRIER() __syncthreads()
#include "common/topk_sort.h"
