#include "common/conv_transpose.h"
