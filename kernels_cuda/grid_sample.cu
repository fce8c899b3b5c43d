#include "common/grid_sample.h"
