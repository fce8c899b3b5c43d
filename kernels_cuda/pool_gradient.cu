#include "common/pool_gradient.h"
