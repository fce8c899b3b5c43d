#include "common/grid_points_gradient.h"
