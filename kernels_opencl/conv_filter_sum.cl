#include "common/conv_filter_sum.h"
