#include "common/conv_filter_simple.h"
