#include "common/roi_align_gradient.h"
