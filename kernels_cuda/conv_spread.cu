#include "common/conv_spread.h"
