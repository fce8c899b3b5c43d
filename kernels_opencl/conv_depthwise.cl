#include "common/conv_depthwise.h"
