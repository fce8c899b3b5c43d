#include "common/norm_gradient.h"
