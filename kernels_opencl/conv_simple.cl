#include "common/conv_simple.h"
