#include "common/conv_filter_depthwise.h"
