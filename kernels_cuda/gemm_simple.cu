#define B_INDEX(k) ((k) * b_k + n * b_n)
#include "common/gemm_simple.h"
