#include "common/softmax_gradient.h"
