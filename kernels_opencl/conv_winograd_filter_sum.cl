#include "common/conv_winograd_filter_sum.h"
