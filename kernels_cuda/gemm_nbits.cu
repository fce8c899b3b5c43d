#include "common/gemm_nbits.h"
