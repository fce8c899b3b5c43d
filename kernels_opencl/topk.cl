#define TOPK_BITS(v) as_ulong(v)
#include "common/topk.h"
