#include "common/grid_image_gradient.h"
