#include "common/conv_winograd_filter.h"
