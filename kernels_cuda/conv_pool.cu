#include "common/conv_pool.h"
