#include "common/grid_sample_volume.h"
