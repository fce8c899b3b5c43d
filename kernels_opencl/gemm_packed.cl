/* B packed as [N / 32][K][32] */
#define B_INDEX(k) (((n / 32) * K + (k)) * 32 + n % 32)
#include "common/gemm_simple.h"
