#define TOPK_BITS(v) as_ulong(v)
#define GROUP_BARRIER() barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE)
#include "common/topk_sort.h"
