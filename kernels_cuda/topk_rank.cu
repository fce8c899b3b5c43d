#define TOPK_BITS(v) ((ulong)__double_as_longlong(v))
#include "common/topk_rank.h"
