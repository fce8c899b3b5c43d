#include "common/conv_filter_gradient.h"
