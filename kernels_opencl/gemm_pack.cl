#include "common/gemm_pack.h"
