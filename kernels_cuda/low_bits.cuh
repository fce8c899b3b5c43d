/* Types of at most eight bits. */
#include "common/low_bits.h"
A_LOW_BITS(float, int, __int_as_float, __float_as_int, (float))
